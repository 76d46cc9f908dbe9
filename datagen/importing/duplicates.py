"""Pictures that are byte for byte the same: in two splits, of two classes, or twice in one class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from datagen.core.wording import counted, listed
from datagen.datasets.shards import read_rows
from datagen.importing.shard_task import content_key

Content = tuple[str, int, str]
"""What tells a picture's bytes from others', its label, and its path."""


@dataclass(frozen=True)
class Duplicates:
    """Groups of equal pictures, as "SPLIT/PATH = SPLIT/PATH", by what is wrong with them.

    Attributes:
        splits: in more than one split: what is learned by heart is taken for what was understood.
        classes: of more than one class.
        others: more than once in one class of one split.
    """

    splits: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many groups of each kind, for a manifest."""
        return {name: len(getattr(self, name)) for name in ("splits", "classes", "others")}

    def sentences(self) -> list[str]:
        """What there is of each kind, a sentence each."""
        kinds = {"splits": "in several splits", "classes": "of several classes", "others": "twice in one class"}
        return [
            f"{counted(len(groups), 'picture')} {'is' if len(groups) == 1 else 'are'} there {kind}, byte for byte the "
            f"same: {listed(groups)}."
            for name, kind in kinds.items()
            if (groups := getattr(self, name))
        ]


def find_duplicates(splits: Mapping[str, Sequence[Content]]) -> Duplicates:
    """The groups of equal pictures among splits."""
    places: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
    for split, contents in splits.items():
        for key, label, path in contents:
            places[key].append((split, label, path))
    found: dict[str, list[str]] = {"splits": [], "classes": [], "others": []}
    for group in places.values():
        if len(group) == 1:
            continue
        named = " = ".join(f"{split}/{path}" for split, _, path in group[:4])
        several = {"splits": len({split for split, _, _ in group}), "classes": len({label for _, label, _ in group})}
        kinds = [kind for kind, values in several.items() if values > 1] or ["others"]
        for kind in kinds:
            found[kind].append(named)
    return Duplicates(**{kind: tuple(groups) for kind, groups in found.items()})


def contents_of(folder: Path) -> list[Content]:
    """The contents of a split that is published already."""
    return [
        (content_key(row["image"]["bytes"]), row["label"], row["image"]["path"])
        for batch in read_rows(folder)
        for row in batch.to_pylist()
    ]

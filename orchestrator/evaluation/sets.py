"""Sets that trainings are evaluated on besides the scale's own, and how their classes are those of the scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datagen.core.errors import InputError
from datagen.core.identity import shown
from datagen.datasets.shards import MANIFEST, Manifest, read_manifest
from datagen.datasets.spec import RealDataset
from datagen.datasets.transformations import STRENGTHS, transformation

IMPORTED = Path("store/imported")
"""Where `datagen.import_images --name` puts sets."""


def checked_evaluations(words: Any) -> tuple[str, ...]:
    """The words of sets to evaluate on, each once.

    Raises:
        InputError: they are no texts, or one names a transformation that does not exist.
    """
    if isinstance(words, str) or not all(isinstance(word, str) and word for word in words):
        raise InputError(f"Evaluations are a tuple of names such as ('noise:3', 'imagenet_v2'), not {shown(words)}.")
    named = [word for word in words if word.partition(":")[0] in STRENGTHS]
    known = {word: transformation(word) for word in named}
    return tuple(dict.fromkeys(known.get(word, word) for word in words))


def is_imported(word: str) -> bool:
    """Whether there is a set of that name or in that folder."""
    return _folder_of(word) is not None


def _folder_of(word: str) -> Path | None:
    places = [Path(word), IMPORTED / word]
    folders = [place / part for place in places for part in ("validation", "train", "")]
    return next((folder for folder in folders if (folder / MANIFEST).is_file()), None)


def imported_evaluation(word: str, classes: Sequence[tuple[str, str]]) -> tuple[RealDataset, tuple[int, ...]]:
    """A set by its folder or by the name under which it was imported, and the label here of each of its classes.

    Its validation images are taken, or if it has none its training images. Classes are the same if they have the same
    WordNet id or, where either has none, the same name; images of others are left out.

    Raises:
        InputError: there is no such set, or it shares no class.
    """
    folder = _folder_of(word)
    if folder is None:
        raise InputError(
            f"There is no data set {word} to evaluate on: no folder of that name, and none in {IMPORTED}. Import it: "
            f"python -m datagen.import_images --name {Path(word).name} --val DIR; or name a change of the validation "
            f"images: {', '.join(f'{name}:1' for name in sorted(STRENGTHS))}."
        )
    manifest = read_manifest(folder)
    split = "train" if folder.name == "train" else "validation"
    found = RealDataset(
        name=Path(word).name,
        class_names=manifest.class_names,
        split=split,
        digest=manifest.digest,
        rows=manifest.rows,
        folder=folder.absolute(),
    )
    labels = joined_labels(manifest, classes)
    if max(labels) < 0:
        raise InputError(f"{word} shares no class with this scale: it has {', '.join(manifest.class_names[:3])}, ...")
    return found, () if labels == tuple(range(len(classes))) else labels


def joined_labels(manifest: Manifest, classes: Sequence[tuple[str, str]]) -> tuple[int, ...]:
    """Of each class of a set which of `classes` (name and WordNet id) it is, -1 for none."""
    by_id = {wordnet_id: place for place, (_, wordnet_id) in enumerate(classes) if wordnet_id}
    by_name = {name: place for place, (name, _) in enumerate(classes)}
    ids = manifest.description.get("wordnet_ids") or [""] * len(manifest.class_names)
    joined = []
    for name, wordnet_id in zip(manifest.class_names, ids, strict=True):
        if wordnet_id and wordnet_id in by_id:
            joined.append(by_id[wordnet_id])
            continue
        place = by_name.get(name, -1)
        differs = place >= 0 and wordnet_id and classes[place][1]
        joined.append(-1 if differs else place)
    return tuple(joined)

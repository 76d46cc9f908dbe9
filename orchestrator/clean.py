"""The command: python -m orchestrator.clean [--store DIR]. Lists what is kept of unfinished work, asks, removes it.

Published data sets, models and reports are never touched. Exit codes: 0 removed, or nothing to remove, or the answer
was no; 2 wrong usage, a store in use, or nobody to ask.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import click
from rich.console import Console
from rich.table import Table

from datagen.core.command import command_line, errors_in_a_sentence
from datagen.core.errors import InputError
from datagen.core.terminal import console_for_output
from datagen.datasets.shards import MANIFEST
from datagen.storage.object_store import Item
from orchestrator.storage.store import MODEL, Store
from orchestrator.storage.unfinished import RAY_TRAIN, checkpoint_of, is_spent, owner_of, trials_of

HEADER_BYTES = 65536
"""Enough of a log to read its first line: the fingerprints of a task."""


@dataclass(frozen=True)
class Remnant:
    """Files of a store that belong together and are no part of a published artifact.

    `needed` says whether a study would go on from them, as far as that can be known.
    """

    kind: str
    what: str
    files: tuple[Item, ...]
    needed: bool
    owner: str = ""

    @property
    def bytes(self) -> int:
        """Their size."""
        return sum(item.size for item in self.files)

    @property
    def changed(self) -> float:
        """When the last of them was written, seconds."""
        return max(item.changed for item in self.files)


def remnants(store: Store) -> list[Remnant]:
    """What a store holds beside published artifacts, reports and logs of failed tasks; what is needed comes first."""
    titles, logs = _logs(store)
    places = _grouped(store.list_files("partial"))
    found = [_unfinished(store, place, files, titles) for place, files in places.items()]
    ended = [item for item, trials in logs.items() if trials and all(_is_done(store, trial) for trial in trials)]
    if ended:
        found.append(Remnant("log", f"{len(ended)} of tasks that ended well", tuple(ended), needed=False))
    for kind in ("datasets", "models"):
        for place, files in _grouped(store.list_files(kind)).items():
            if not any(item.key.endswith(f"/{MANIFEST}") for item in files):
                found.append(Remnant("leftover", f"{kind}/{place[:12]} has no manifest", tuple(files), needed=False))
    return sorted(found, key=lambda remnant: (not remnant.needed, remnant.kind, remnant.changed))


def _grouped(items: Iterable[Item]) -> dict[str, list[Item]]:
    """Files by the artifact or cohort that they belong to."""
    places: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        place = item.key.split("/")[1]
        places[place.removesuffix(".lock")].append(item)
    return places


def _unfinished(store: Store, place: str, files: Sequence[Item], titles: Mapping[str, str]) -> Remnant:
    owner = owner_of(place)
    spent = all(is_spent(item, store.is_published, store.read_part) for item in files)
    if place == RAY_TRAIN:
        return Remnant("notes", "of Ray Train, that end with the sweep", tuple(files), needed=False)
    if place != owner:
        return Remnant(
            "leftover", f"model {owner[:12]}, whose process has not published it", tuple(files), needed=False
        )
    trials = frozenset().union(*(trials_of(item, store.read_part) for item in files))
    if trials:
        epoch = max((checkpoint_of(item, store.read_part).epoch for item in files if _is_checkpoint(item)), default=0)
        published = sum(store.is_published(trial) for trial in trials)
        named = dict.fromkeys(titles[trial] for trial in sorted(trials) if trial in titles)
        state = [f"epoch {epoch}", *([f"{published} of {len(trials)} trials published"] if published else [])]
        what = f"{' and '.join(named) or f'cohort {owner[:12]}'}: {', '.join(state)}"
        return Remnant("training", what, tuple(files), needed=not spent)
    shards = [item.key.rpartition("/")[2] for item in files if item.key.endswith(".parquet")]
    whole = [name for name in shards if not name.startswith(".")]
    if whole or any(item.key.endswith(".lock") for item in files):
        title = titles.get(owner, owner[:12])
        total = re.search(r"-of-(\d+)", whole[0]) if whole else None
        what = f"{title}: {len(whole)}{f' of {int(total[1])}' if total else ''} shards"
        return Remnant("data set", what, tuple(files), needed=not spent, owner=owner)
    return Remnant("unknown", f"partial/{place}", tuple(files), needed=not spent)


def _is_checkpoint(item: Item) -> bool:
    return item.key.endswith(".safetensors")


def _logs(store: Store) -> tuple[dict[str, str], dict[Item, list[str]]]:
    """The titles of tasks by what they make, and the logs with what their tasks make."""
    titles: dict[str, str] = {}
    logs: dict[Item, list[str]] = {}
    for item in store.list_files("logs"):
        try:
            about = json.loads(store.read_part(item.key, 0, min(item.size, HEADER_BYTES)).partition(b"\n")[0])
            logs[item] = about["fingerprints"]
        except (ValueError, KeyError, TypeError, FileNotFoundError):
            continue
        titles |= dict.fromkeys(about["fingerprints"], str(about.get("title", "")))
    return titles, logs


def _is_done(store: Store, fingerprint: str) -> bool:
    """Whether an artifact is published and no failure, whose log is worth reading."""
    if not store.is_published(fingerprint):
        return False
    try:
        return not json.loads((store.root / "models" / fingerprint / MODEL).read_text(encoding="utf-8"))["failure"]
    except FileNotFoundError:
        return True  # A data set.
    except (OSError, ValueError, KeyError):
        return False


def remove(store: Store, found: Sequence[Remnant]) -> Iterator[Remnant]:
    """Removes remnants; yields those that stay because another process works on them."""
    for remnant in found:
        with store.untouched(remnant.owner) as untouched:
            if untouched:
                store.remove_files([item.key for item in remnant.files])
            else:
                yield remnant


def show(found: Sequence[Remnant], console: Console) -> None:
    """Prints what is needed, and what is not."""
    for needed, heading in (
        (True, "Unfinished: its study goes on from here, and would begin it anew without"),
        (False, "Needed by no study, as far as can be known"),
    ):
        if chosen := [remnant for remnant in found if remnant.needed is needed]:
            table = Table(title=heading, title_justify="left", box=None, pad_edge=False)
            for name in ("kind", "what", "last written", "size"):
                table.add_column(name, justify="right" if name == "size" else "left")
            for remnant in chosen:
                table.add_row(remnant.kind, remnant.what, _age(remnant.changed), _size(remnant.bytes))
            console.print(table)


def _age(changed: float) -> str:
    seconds = max(0.0, time.time() - changed)
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} seconds ago"


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


@click.command(context_settings={"max_content_width": 110})
@click.option("--store", "location", default="store", show_default=True, help="Folder, or s3://bucket/folder.")
@click.option("--yes", is_flag=True, help="Remove without a question.")
@errors_in_a_sentence
def main(location: str, yes: bool) -> None:
    """Lists what a store keeps of unfinished work and what no study needs, asks, and removes it.

    Published data sets, models and reports stay.
    """
    clean(location, yes, console_for_output())


def clean(location: str, yes: bool, console: Console) -> None:
    """Does what the command says.

    Raises:
        InputError: there is no store, a sweep owns it, or nobody can be asked.
    """
    store = Store(location)
    store.look()
    if not store.exists():
        raise InputError(f"There is no store in {location}. Name one with --store.")
    with store.create().owned(command_line("orchestrator.clean")):
        found = remnants(store)
        if not found:
            console.print(f"Nothing is unfinished in {location}.")
            return
        show(found, console)
        total = _size(sum(remnant.bytes for remnant in found))
        if not yes:
            if not _can_ask():
                raise InputError("Nothing was removed: there is no terminal to ask on. Give --yes to remove all this.")
            if not click.confirm(f"Remove all this ({total})?"):
                console.print("Nothing was removed.")
                return
        busy = list(remove(store, found))
        for remnant in busy:
            console.print(f"{remnant.what}: stays, for a process is at work on it.")
        console.print(f"Removed {_size(sum(r.bytes for r in found if r not in busy))}.")


def _can_ask() -> bool:
    return sys.stdin.isatty()


if __name__ == "__main__":
    main()

"""What an actor of a generation does: draws the images of a shard, and writes its file, whole or not at all."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datagen.core.device import why_no_cuda
from datagen.core.errors import InputError
from datagen.datasets.shards import ImageRow, record_name, shard_name, write_shard
from datagen.datasets.spec import DerivedDataset, GeneratedDataset
from datagen.generation.shared_folder import SharedFolder

SPLIT = "train"
ATTEMPTS = 3
"""How often an image that cannot be drawn is tried, each time by a fresh actor."""
NOTES = ".attempts"
"""Sub-folder with a file for each shard that is being drawn, a byte for each time it was begun."""


def shard_positions(spec: DerivedDataset, shard: int) -> list[Any]:
    """The position of each image in a shard, as `datagen.generation.generators.ImageGenerator` takes it.

    Classes of a set that is drawn from prompts are interleaved, so every shard has all; others keep their source's
    order.
    """
    first = shard * spec.rows_per_shard
    rows = range(first, min(first + spec.rows_per_shard, spec.images))
    if isinstance(spec, GeneratedDataset):
        return [(row % len(spec.class_names), row // len(spec.class_names)) for row in rows]
    return list(rows)


def shard_count(spec: DerivedDataset) -> int:
    """How many shards the data set has."""
    return -(-spec.images // spec.rows_per_shard)


class ShardGenerator:
    """A Ray Data actor that turns shard numbers into shard files, and returns what became of each as JSON.

    A result is {"record": the manifest's record, "seconds": what it took, "left_out": style pictures that cannot be
    used, with the reasons}, {"failed": the images that cannot be drawn}, or {"refused": a sentence}: a mistake of the
    user's, which Ray would otherwise retry and show with its traceback.
    """

    def __init__(
        self,
        spec: DerivedDataset,
        folder: Path,
        device: str,
        source: Path | None = None,
        shared: SharedFolder | None = None,
    ) -> None:
        import torch

        from datagen.generation.generators import generator_for

        if device == "cpu":
            # One process a core with one thread each is faster than threads that share cores.
            torch.set_num_threads(1)
        self._spec, self._shared, self._refused = spec, shared, ""
        self._folder = shared.here() if shared else folder
        try:
            if device == "cuda" and not torch.cuda.is_available():
                raise InputError(f"torch cannot use the GPU here. {why_no_cuda()}")
            if shared and spec.made_from:
                source = shared.bring_dataset(spec.made_from[0])
            self._generator = generator_for(spec, device, source)
        except InputError as error:
            self._refused = str(error)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Draws and writes the shard `batch["shard"]` (one row)."""
        shard = int(batch["shard"][0])
        try:
            result = {"refused": self._refused} if self._refused else self._make(shard)
        except InputError as error:
            result = {"refused": str(error)}
        return {"shard": [shard], "result": [json.dumps(result)]}

    def _make(self, shard: int) -> dict[str, Any]:
        positions = shard_positions(self._spec, shard)
        note = self._folder / NOTES / str(shard)
        begun = _begin(note)
        if begun > ATTEMPTS:
            note.unlink()
            return {"failed": [f"{self._named(p)}: its worker died {ATTEMPTS} times" for p in positions]}
        started = time.monotonic()
        rows, failed = self._drawn(positions)
        note.unlink(missing_ok=True)
        if failed:
            return {"failed": failed}
        path = self._folder / shard_name(SPLIT, shard, shard_count(self._spec))
        beside = path.with_name(record_name(path.name))
        record = asdict(write_shard(path, rows, self._spec.class_names, record_to=beside))
        if self._shared:
            self._shared.send(beside)
            self._shared.send(path)
        left_out = getattr(self._generator, "left_out", {})
        return {"record": record, "seconds": time.monotonic() - started, "left_out": left_out}

    def _drawn(self, positions: Sequence[Any]) -> tuple[list[ImageRow], list[str]]:
        """The images, and those that cannot be drawn: found by halves."""
        try:
            return self._generator.draw(positions), []
        except InputError:
            raise
        except Exception as error:
            if "CUDA error" in str(error):
                # What follows on this GPU would fail too: the process ends, and Ray begins anew where there is room.
                logging.getLogger(__name__).exception("The GPU failed")
                os._exit(1)
            if len(positions) == 1:
                reason = (str(error) or type(error).__name__).splitlines()[0]
                return [], [f"{self._named(positions[0])}: {reason}"]
        half = len(positions) // 2
        halves = [self._drawn(positions[:half]), self._drawn(positions[half:])]
        return [row for rows, _ in halves for row in rows], [name for _, names in halves for name in names]

    def _named(self, position: Any) -> str:
        if not isinstance(self._spec, GeneratedDataset):
            return f"image {position} of the source"
        label, index = position
        return f"{self._spec.class_names[label]} {index} ({self._spec.prompt(label, index)!r})"


def _begin(note: Path) -> int:
    """Counts how often a shard was begun, over all processes that died with it."""
    try:
        note.parent.mkdir(exist_ok=True)
        with note.open("ab") as file:
            file.write(b".")
            file.flush()
            return file.tell()
    except OSError as error:
        raise InputError(f"Cannot write {note}: {error.strerror}. Free space or choose another --store.") from error

"""Kills a pocket generation again and again, and compares what the survivors finish with an undisturbed one.

Run as `python -m tests.datagen.generation.killed_generation FOLDER KILLS`. The generation is the real one without Ray:
a fork of this process clears the folder, draws what is missing and writes the manifest, and is killed with SIGKILL
after a random delay. Forks spare the seconds that loading the networks takes. Prints JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from datagen import pocket
from datagen.datasets.shards import MANIFEST, read_manifest
from datagen.datasets.spec import DerivedDataset, GeneratedDataset
from datagen.generation import engine as generation
from datagen.generation.shard_generator import ShardGenerator


def small_spec() -> GeneratedDataset:
    """Six shards of four images."""
    return GeneratedDataset(
        name="synthetic",
        class_names=("shirt", "coat"),
        prompts=(("shirt, a garment",), ("coat, an outer garment",)),
        pipeline="generator",
        pipeline_digest="0" * 64,
        pipeline_folder=pocket.GENERATOR,
        images_per_class=12,
        steps=1,
        guidance=1.0,
        width=32,
        height=32,
        rows_per_shard=4,
    )


def checksums(folder: Path) -> dict[str, str]:
    """sha256 of each image's bytes, by class and index, in the order of the shards."""
    rows = [row for shard in read_manifest(folder).shards for row in pq.read_table(folder / shard.file).to_pylist()]
    return {f"{row['class_name']} {row['index']}": hashlib.sha256(row["image"]["bytes"]).hexdigest() for row in rows}


def main(folder: Path, kills: int) -> dict[str, Any]:
    """Kills until there were `kills`, starting a new set whenever one is finished; then lets the last one finish."""
    spec, chance = small_spec(), random.Random(0)
    generator = ShardGenerator(spec, folder, "cpu")

    def draw_here(
        spec: DerivedDataset, folder: Path, missing: Sequence[int], *others: Any
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        generator._folder = folder
        for shard in missing:
            yield shard, json.loads(generator({"shard": [shard]})["result"][0])

    generation._draw_missing = draw_here  # type: ignore[assignment]

    def generate(folder: Path, seconds: float | None) -> bool:
        """One run, killed after so many seconds; whether it was."""
        child = os.fork()
        if child == 0:
            fsync = os.fsync

            # A write takes a hundredth of the time that drawing takes; slowed down, it is hit as often.
            def slowly(fd: Any) -> None:
                time.sleep(0.03)
                fsync(fd)

            os.fsync = slowly
            try:
                generation.generate(spec, folder, workers=1)
            finally:
                os._exit(0)
        if seconds is not None:
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])

    began = time.monotonic()
    generate(folder / "undisturbed", None)
    whole_time = time.monotonic() - began
    expected = checksums(folder / "undisturbed")
    survived, in_writing, torn, sets, state = 0, 0, [], [], folder / "set0"
    while survived < kills:
        # Half as long as a whole set takes, so that several runs are needed for each, and some need no kill.
        survived += generate(state, chance.uniform(0, whole_time / 2))
        in_writing += any(state.glob(".*parquet*"))
        torn += [path.name for path in state.glob("[!.]*.parquet") if pq.read_metadata(path).num_rows != 4]
        if (state / MANIFEST).exists():
            sets.append(checksums(state) == expected)
            shutil.rmtree(state)
            state = folder / f"set{len(sets)}"
    generate(state, None)
    sets.append(checksums(state) == expected)
    return {"kills": survived, "in_writing": in_writing, "sets": sets, "torn": torn, "images": len(expected)}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))

"""Generation when something breaks: images, workers, disks. The generators here draw nothing and load no network."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from datagen.core.errors import InputError
from datagen.datasets.shards import ImageRow, read_manifest, record_name, shard_name
from datagen.datasets.spec import DerivedDataset, GeneratedDataset, OracleDataset
from datagen.generation import engine as generation
from datagen.generation import shard_generator as shard_generator
from datagen.generation.engine import GenerationFailedError, generate, make_dataset, owned
from datagen.generation.shard_generator import NOTES, ShardGenerator, shard_count
from datagen.storage.store import DatasetStore
from tests.conftest import png

SPEC = GeneratedDataset(
    name="synthetic",
    class_names=("shirt", "coat"),
    prompts=(("a shirt", "a blue shirt"), ("a coat",)),
    pipeline="none",
    pipeline_digest="0",
    pipeline_folder=Path("none"),
    images_per_class=12,
    rows_per_shard=4,
)
"""Six shards of four images: indices 0 and 1 of both classes in the first."""


PICTURE = png(np.zeros((8, 8, 3), dtype=np.uint8))


class ImageGenerator:
    """Draws nothing; dies or fails where a file in the folder says so."""

    def __init__(self, spec: GeneratedDataset, folder: Path) -> None:
        self.spec, self.folder = spec, folder

    def draw(self, positions: Sequence[tuple[int, int]]) -> list[ImageRow]:
        for label, index in positions:
            where = f"{label}-{index}"
            if (self.folder.parent / f"die-once-{where}").exists():
                (self.folder.parent / f"die-once-{where}").unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            if (self.folder.parent / f"die-{where}").exists():
                os.kill(os.getpid(), signal.SIGKILL)
            if (self.folder.parent / f"fail-{where}").exists():
                raise RuntimeError("the picture is cursed")
        names = self.spec.class_names
        return [
            ImageRow(PICTURE, f"{l}/{i}.png", l, names[l], i, self.spec.prompt(l, i), 0)
            for l, i in positions  # noqa: E741
        ]


class BreakableShardGenerator(ShardGenerator):
    def __init__(self, spec: GeneratedDataset, folder: Path, *unused: object, **also_unused: object) -> None:
        self._spec, self._folder, self._shared, self._refused = spec, folder, None, ""
        self._generator = ImageGenerator(spec, folder)


@pytest.fixture
def breakable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "ShardGenerator", BreakableShardGenerator)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The generation in this process, without Ray."""

    def draw_here(spec: Any, folder: Path, missing: Sequence[int], *others: Any) -> Any:
        generator = BreakableShardGenerator(spec, folder)
        for shard in missing:
            result = json.loads(generator({"shard": [shard]})["result"][0])
            if "refused" in result:
                raise InputError(result["refused"])
            yield shard, result

    monkeypatch.setattr(generation, "_draw_missing", draw_here)


def test_what_always_fails_is_named_the_rest_finishes_and_nothing_is_published(
    cluster: None, breakable: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "ATTEMPTS", 1)  # Each one more is three processes more that start and die.
    for trouble in ("die-once-0-0", "fail-0-3", "die-1-7"):
        (tmp_path / trouble).touch()
    with pytest.raises(GenerationFailedError) as raised:
        generate(SPEC, tmp_path / "set", workers=2)
    assert "shirt 3 ('a blue shirt'): the picture is cursed" in str(raised.value)
    assert "coat 7 ('a coat'): its worker died 3 times" in str(raised.value)
    kept = sorted(path.name for path in (tmp_path / "set").glob("*.parquet"))
    assert kept == [shard_name("train", shard, 6) for shard in (0, 2, 4, 5)]
    assert not (tmp_path / "set" / "_manifest.json").exists()
    (tmp_path / "fail-0-3").unlink()
    (tmp_path / "die-1-7").unlink()
    assert generate(SPEC, tmp_path / "set", workers=2).rows == 24


def test_only_the_images_that_fail_are_named(alone: None, tmp_path: Path) -> None:
    (tmp_path / "fail-1-5").touch()
    with pytest.raises(GenerationFailedError, match=r"^1 of 24 images .* coat 5 \('a coat'\): the picture is cursed"):
        generate(SPEC, tmp_path / "set", workers=1)


def test_a_finished_set_holds_what_it_promises_and_nothing_else(alone: None, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for stranger in ("train-00000-of-00099.parquet", ".train-00000-of-00006.parquet.123"):
        (tmp_path / "set" / stranger).write_text("left by an earlier run")
    manifest = generate(SPEC, tmp_path / "set", workers=1)
    files = sorted(path.name for path in (tmp_path / "set").iterdir())
    assert files == ["_manifest.json", *(shard.file for shard in manifest.shards)]
    rows = [row for shard in manifest.shards for row in pq.read_table(tmp_path / "set" / shard.file).to_pylist()]
    assert len({(row["label"], row["index"]) for row in rows}) == len(rows) == 24
    assert read_manifest(tmp_path / "set") == manifest


@pytest.mark.parametrize("content", [b"", b"PAR1 and noise"])
def test_a_shard_that_a_broken_disk_has_left_is_drawn_again(content: bytes, alone: None, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / shard_name("train", 2, 6)).write_bytes(content)
    assert generate(SPEC, tmp_path / "set", workers=1).rows == 24


@pytest.mark.parametrize("region", range(8))
def test_a_shard_with_a_flipped_byte_is_drawn_again_and_named(region: int, alone: None, tmp_path: Path) -> None:
    whole = generate(SPEC, tmp_path / "undisturbed", workers=1)
    half_drawn(tmp_path)
    shard, kept = (tmp_path / "set" / shard_name("train", number, 6) for number in (0, 1))
    content = bytearray(shard.read_bytes())
    content[region * len(content) // 8 + 3] ^= 16
    shard.write_bytes(content)
    before = kept.stat().st_mtime_ns
    said: list[str] = []
    assert generate(SPEC, tmp_path / "set", workers=1, say=said.append).shards == whole.shards
    assert said == [f"{shard} has changed since it was written (its checksum differs); it is drawn again."]
    assert kept.stat().st_mtime_ns == before


def test_a_shard_without_a_record_is_drawn_again_and_named(alone: None, tmp_path: Path) -> None:
    half_drawn(tmp_path)
    shard, other = (tmp_path / "set" / shard_name("train", number, 6) for number in (0, 1))
    (tmp_path / "set" / record_name(shard.name)).unlink()
    (tmp_path / "set" / record_name(other.name)).write_text("{")
    said: list[str] = []
    assert generate(SPEC, tmp_path / "set", workers=1, say=said.append).rows == 24
    assert said == [f"{path} has no record of what was written; it is drawn again." for path in (shard, other)]


def test_a_finished_set_that_was_not_moved_to_its_place_keeps_its_shards(alone: None, tmp_path: Path) -> None:
    manifest = generate(SPEC, tmp_path / "set", workers=1)
    times = [(tmp_path / "set" / shard.file).stat().st_mtime_ns for shard in manifest.shards]
    said: list[str] = []
    assert generate(SPEC, tmp_path / "set", workers=1, say=said.append).shards == manifest.shards
    assert [(tmp_path / "set" / shard.file).stat().st_mtime_ns for shard in manifest.shards] == times
    assert said == []


def half_drawn(folder: Path) -> None:
    """A set of which one image cannot be drawn: the shards without it are there."""
    (folder / "fail-1-5").touch()
    with pytest.raises(GenerationFailedError):
        generate(SPEC, folder / "set", workers=1)
    (folder / "fail-1-5").unlink()


def test_a_shard_with_an_image_twice_is_not_published(
    alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_generator, "shard_positions", lambda spec, shard: [(0, 0), (1, 0), (0, 1), (1, 1)])
    with pytest.raises(InputError, match="24 images, 4 of them different, instead of 24"):
        generate(SPEC, tmp_path / "set", workers=1)
    assert not (tmp_path / "set" / "_manifest.json").exists()


def test_a_disk_that_is_full_in_mid_shard_leaves_whole_shards_and_one_sentence(
    alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table, written = pq.write_table, []

    def write_some(table: Any, file: Path, **options: Any) -> None:
        written.append(table)
        if len(written) == 3:
            file.write_bytes(b"PAR1")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_table(table, file, **options)

    monkeypatch.setattr(pq, "write_table", write_some)
    with pytest.raises(InputError, match=r"No space left on device\. Free space or choose another --store\."):
        generate(SPEC, tmp_path / "set", workers=1)
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        NOTES,
        shard_name("train", 0, 6),
        record_name(shard_name("train", 0, 6)),
        shard_name("train", 1, 6),
        record_name(shard_name("train", 1, 6)),
    ]
    monkeypatch.undo()


def test_two_generators_of_one_set_do_not_meet(alone: None, tmp_path: Path) -> None:
    with owned(tmp_path / "set"), pytest.raises(InputError, match=r"Another process is making the data set in .*set\."):
        generate(SPEC, tmp_path / "set", workers=1)
    assert generate(SPEC, tmp_path / "set", workers=1).rows == 24


def test_a_set_in_the_store_is_where_a_sweep_looks_and_is_made_once(alone: None, tmp_path: Path) -> None:
    folder = make_dataset(SPEC, DatasetStore(tmp_path), workers=1)
    store = DatasetStore(tmp_path)
    assert folder == store.folder(SPEC) == tmp_path / "datasets" / SPEC.fingerprint
    assert store.has(SPEC)
    before = (folder / "_manifest.json").stat().st_mtime_ns
    make_dataset(SPEC, DatasetStore(tmp_path), workers=1)
    assert (folder / "_manifest.json").stat().st_mtime_ns == before


def test_a_set_that_is_made_of_another_needs_that_first(alone: None, tmp_path: Path) -> None:
    oracle: DerivedDataset = OracleDataset(
        class_names=SPEC.class_names,
        pipeline="none",
        pipeline_digest="0",
        pipeline_folder=Path("none"),
        source=SPEC,
        method="unclip",
    )
    assert shard_count(oracle) == 1
    with pytest.raises(InputError, match="images of synthetic are not made yet"):
        generate(oracle, tmp_path / "set", workers=1)
    make_dataset(SPEC, DatasetStore(tmp_path), workers=1)
    folder = DatasetStore(tmp_path).folder(SPEC)
    assert generation.source_folder(oracle, {SPEC.fingerprint: folder}) == folder

"""Generation: the same images whatever the batch, the actors or the interruptions."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from datagen import pocket
from datagen.core.errors import InputError
from datagen.core.files import write_json
from datagen.datasets.shards import publish_dataset, read_manifest, record_name
from datagen.datasets.source_rows import SourceRows
from datagen.datasets.spec import GeneratedDataset
from datagen.generation.diffusion import TextToImage
from datagen.generation.engine import generate
from datagen.generation.shard_generator import shard_count, shard_positions
from datagen.recipes.prompt_styles import definition_prompt
from tests.conftest import ROOT

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
POSITIONS = [(row % 2, row // 2) for row in range(18)]


@pytest.fixture(scope="module")
def one_by_one(generated_spec: GeneratedDataset) -> dict[tuple[int, int], bytes]:
    generator = TextToImage(replace(generated_spec, images_at_once=1))
    return {(row.label, row.index): row.image for row in generator.draw(POSITIONS)}


def contents(folder: Path) -> list[tuple[int, int, int, str, bytes]]:
    rows = [row for shard in read_manifest(folder).shards for row in pq.read_table(folder / shard.file).to_pylist()]
    return [(row["label"], row["index"], row["seed"], row["prompt"], row["image"]["bytes"]) for row in rows]


@pytest.mark.parametrize("images_at_once", [2, 7, 16, 18, 64])
def test_an_image_is_the_same_bytes_in_any_batch(
    images_at_once: int, generated_spec: GeneratedDataset, one_by_one: dict[tuple[int, int], bytes]
) -> None:
    generator = TextToImage(replace(generated_spec, images_at_once=images_at_once))
    assert {(row.label, row.index): row.image for row in generator.draw(POSITIONS)} == one_by_one


def test_an_image_is_the_same_bytes_in_any_company(
    generated_spec: GeneratedDataset, one_by_one: dict[tuple[int, int], bytes]
) -> None:
    for row in TextToImage(generated_spec).draw([(1, 5), (0, 8), (1, 0)]):
        assert row.image == one_by_one[(row.label, row.index)]


def test_images_differ_from_each_other_and_between_data_sets(
    generated_spec: GeneratedDataset, one_by_one: dict[tuple[int, int], bytes]
) -> None:
    assert len(set(one_by_one.values())) == len(POSITIONS)
    other = TextToImage(replace(generated_spec, dataset_seed=1)).draw([(0, 0)])[0]
    assert other.image != one_by_one[(0, 0)]
    assert other.seed != generated_spec.image_seed("T-shirt", 0)


def test_an_image_has_the_promised_size_and_metadata(
    generated_spec: GeneratedDataset, one_by_one: dict[tuple[int, int], bytes]
) -> None:
    row = TextToImage(generated_spec).draw([(1, 3)])[0]
    assert Image.open(io.BytesIO(row.image)).size == (32, 32)
    assert (row.class_name, row.index, row.path) == ("trouser", 3, "trouser/000003.png")
    assert row.prompt == generated_spec.prompt(1, 0)
    assert row.seed == generated_spec.image_seed("trouser", 3)


def test_guidance_changes_the_images(generated_spec: GeneratedDataset) -> None:
    images = {TextToImage(replace(generated_spec, guidance=g)).draw([(0, 0)])[0].image for g in (1.0, 2.0, 6.0)}
    assert len(images) == 3


def test_shards_share_out_every_image_once(generated_spec: GeneratedDataset) -> None:
    positions = [p for shard in range(shard_count(generated_spec)) for p in shard_positions(generated_spec, shard)]
    assert sorted(positions) == [(label, index) for label in range(2) for index in range(12)]


def test_only_missing_shards_are_drawn_again_and_the_set_is_the_same_with_one_actor_and_with_two(
    cluster: None, generated_spec: GeneratedDataset, tmp_path: Path
) -> None:
    seen: list[int] = []
    whole = generate(generated_spec, tmp_path / "whole", workers=1, on_progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 24
    kept = whole.shards[0]
    (tmp_path / "resumed").mkdir()
    shutil.copy2(tmp_path / "whole" / kept.file, tmp_path / "resumed" / kept.file)
    write_json(tmp_path / "resumed" / record_name(kept.file), asdict(kept))
    before = (tmp_path / "resumed" / kept.file).stat().st_mtime_ns
    resumed = generate(replace(generated_spec, images_at_once=5), tmp_path / "resumed", workers=2)
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")
    assert resumed.digest == whole.digest
    assert (tmp_path / "resumed" / kept.file).stat().st_mtime_ns == before


def test_a_generation_killed_6_times_at_random_points_ends_with_the_same_images(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.datagen.generation.killed_generation", str(tmp_path), "6"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=ONE_THREAD)
    outcome = json.loads(done.stdout)
    assert outcome["kills"] == 6
    assert outcome["torn"] == []
    assert outcome["images"] == 24
    assert outcome["sets"] and all(outcome["sets"])


def test_a_killed_job_is_finished_by_the_same_command(tmp_path: Path) -> None:
    """The driver is killed while Ray's workers draw, for an oracle set, so that its source's rows are shared out."""
    words = [
        "pocket_oracle",
        "steps=2",
        "guidance=1",
        "rows_per_shard=16",
        f"source={small_source(tmp_path / 'source')}",
    ]
    command = [sys.executable, "-m", "datagen.generate", *words, "--store", str(tmp_path / "store"), "--workers", "1"]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ONE_THREAD)
    partial = tmp_path / "store" / "partial"
    while not list(partial.glob("*/[!.]*.parquet")):
        assert first.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    first.kill()
    first.wait()
    (kept,) = [path.name for path in partial.iterdir() if path.is_dir()]
    before = {path.name: path.stat().st_mtime_ns for path in (partial / kept).glob("[!.]*.parquet")}
    assert not (partial / kept / "_manifest.json").exists()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=ONE_THREAD)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "store" / "datasets" / kept
    assert {name: (folder / name).stat().st_mtime_ns for name in before} == before
    source, made = SourceRows(tmp_path / "source"), SourceRows(folder)
    assert len(made) == len(source) == 128
    assert [(row.label, row.index) for row in made.read(range(128))] == [
        (row.label, row.index) for row in source.read(range(128))
    ]
    assert len({row.image for row in made.read(range(128))}) == 128


def small_source(folder: Path) -> Path:
    rows = SourceRows(pocket.IMAGES / "train").read(range(128))
    names = read_manifest(pocket.IMAGES / "train").class_names
    publish_dataset(folder, [rows[:100], rows[100:]], split="train", class_names=names, description={})
    return folder


def test_a_folder_without_a_pipeline_is_refused(generated_spec: GeneratedDataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no diffusion pipeline"):
        TextToImage(replace(generated_spec, pipeline_folder=tmp_path))


@pytest.mark.parametrize(
    ("lost", "complaint"),
    [
        ("unet/diffusion_pytorch_model.safetensors", "unet has no weights"),
        ("vae/config.json", "vae lacks its configuration"),
    ],
)
def test_a_pipeline_that_lacks_a_part_is_refused(
    lost: str, complaint: str, generated_spec: GeneratedDataset, tmp_path: Path
) -> None:
    shutil.copytree(generated_spec.pipeline_folder, tmp_path / "generator")
    (tmp_path / "generator" / lost).unlink()
    with pytest.raises(InputError, match=complaint):
        TextToImage(replace(generated_spec, pipeline_folder=tmp_path / "generator"))


def test_prompts_are_the_class_and_its_wordnet_definition() -> None:
    assert definition_prompt("papillon", "n02086910") == (
        "papillon, small slender toy spaniel with erect ears and a black-spotted brown to white coat"
    )
    with pytest.raises(InputError, match="No definition is known for n00000000"):
        definition_prompt("nothing", "n00000000")

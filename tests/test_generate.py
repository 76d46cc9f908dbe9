"""Generation: the same images whatever the batch, the actors or the interruptions."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from datagen.errors import InputError
from datagen.generate import generate, shard_count, shard_positions
from datagen.generators import TextToImage
from datagen.prompts import definition_prompt
from datagen.shards import read_manifest
from datagen.spec import GeneratedDataset

ROOT = Path(__file__).parent.parent
POSITIONS = [(row % 2, row // 2) for row in range(18)]


@pytest.fixture(scope="module")
def one_by_one(generated_spec: GeneratedDataset) -> dict[tuple[int, int], bytes]:
    painter = TextToImage(replace(generated_spec, images_at_once=1))
    return {(row.label, row.index): row.image for row in painter.draw(POSITIONS)}


def contents(folder: Path) -> list[tuple[int, int, int, str, bytes]]:
    rows = [row for shard in read_manifest(folder).shards for row in pq.read_table(folder / shard.file).to_pylist()]
    return [(row["label"], row["index"], row["seed"], row["prompt"], row["image"]["bytes"]) for row in rows]


@pytest.mark.parametrize("images_at_once", [2, 7, 16, 18, 64])
def test_an_image_is_the_same_bytes_in_any_batch(
    images_at_once: int, generated_spec: GeneratedDataset, one_by_one: dict[tuple[int, int], bytes]
) -> None:
    painter = TextToImage(replace(generated_spec, images_at_once=images_at_once))
    assert {(row.label, row.index): row.image for row in painter.draw(POSITIONS)} == one_by_one


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


def test_the_set_is_the_same_with_one_actor_and_with_two(
    cluster: None, generated_spec: GeneratedDataset, tmp_path: Path
) -> None:
    seen: list[int] = []
    generate(generated_spec, tmp_path / "one", workers=1, on_progress=seen.append)
    generate(replace(generated_spec, images_at_once=5), tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert read_manifest(tmp_path / "one").digest == read_manifest(tmp_path / "two").digest
    assert seen == sorted(seen)
    assert seen[-1] == 24


def test_only_missing_shards_are_drawn_again(cluster: None, generated_spec: GeneratedDataset, tmp_path: Path) -> None:
    generate(generated_spec, tmp_path / "whole", workers=1)
    names = [shard.file for shard in read_manifest(tmp_path / "whole").shards]
    (tmp_path / "resumed").mkdir()
    for name in (names[0], names[2]):
        shutil.copy2(tmp_path / "whole" / name, tmp_path / "resumed" / name)
    before = {name: (tmp_path / "resumed" / name).stat().st_mtime_ns for name in (names[0], names[2])}
    generate(generated_spec, tmp_path / "resumed", workers=2)
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")
    assert {name: (tmp_path / "resumed" / name).stat().st_mtime_ns for name in before} == before


def test_a_generation_killed_at_any_shard_is_finished_by_the_next(
    generated_spec: GeneratedDataset, tmp_path: Path
) -> None:
    """The writer is killed with SIGKILL between and inside shards; what is under a final name is always whole."""
    code = (
        "import sys, torch; from pathlib import Path; torch.set_num_threads(1);"
        "from tests.test_generate import small_spec; from datagen.generate import ShardPainter, shard_count;"
        "folder = Path(sys.argv[1]); spec = small_spec(); painter = ShardPainter(spec, folder, 'cpu');"
        "print('ready', flush=True);"
        "[painter({'shard': [shard]}) for shard in range(shard_count(spec))]"
    )
    whole: dict[str, bytes] = {}
    for attempt in range(6):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        writer = subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=ROOT, stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.05 + 0.15 * attempt)
        writer.kill()
        writer.wait()
        for path in folder.glob("*.parquet"):
            if not path.name.startswith("."):
                table = pq.read_table(path)
                assert len(table) == 4
                assert whole.setdefault(path.name, path.read_bytes()) == path.read_bytes()


def small_spec() -> GeneratedDataset:
    from datagen import pocket

    return GeneratedDataset(
        name="synthetic",
        class_names=("shirt", "coat"),
        prompts=(("shirt, a garment",), ("coat, an outer garment",)),
        pipeline="generator",
        pipeline_digest="0" * 64,
        pipeline_folder=pocket.GENERATOR,
        images_per_class=20,
        steps=2,
        width=32,
        height=32,
        rows_per_shard=4,
    )


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

"""The command that plans and makes data sets: recipes, settings, what is missing, exit codes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from datagen import generate as generate_command
from datagen import pocket
from datagen.core import digests
from datagen.core.errors import InputError
from datagen.core.settings import parsed
from datagen.datasets.spec import GeneratedDataset, OracleDataset, StylizedDataset
from datagen.generate import main
from datagen.generation.engine import GenerationFailedError
from datagen.recipes.load import load_recipe, make_spec, recipe_names, with_files
from datagen.recipes.recipe import DiffusionRecipe
from experiments.scales import imagenet100, oxford_pets
from experiments.scales import pocket as pocket_scale
from orchestrator.storage.store import Store
from tests.conftest import ROOT


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


def plan(*words: str) -> dict[str, Any]:
    elsewhere = () if "--store" in words else ("--store", "no-such-store")  # What a sweep has made here is no matter.
    done = run(*words, *elsewhere, "--plan", "json")
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = json.loads(done.output)
    return document


@pytest.mark.parametrize(
    ("name", "kind", "images"),
    [
        ("imagenet100_sd14", GeneratedDataset, 130_000),
        ("imagenet100_sd21", GeneratedDataset, 130_000),
        ("imagenet100_unclip", OracleDataset, 126_689),
        ("imagenet100_stylized", StylizedDataset, 126_689),
        ("imagenet100_sd14_stylized", StylizedDataset, 130_000),
        ("oxford_pets_sdxl", GeneratedDataset, 9_805),
        ("pocket", GeneratedDataset, 2_560),
        ("pocket_oracle", OracleDataset, 2_560),
    ],
)
def test_the_papers_sets_can_be_planned_before_anything_is_there(name: str, kind: type, images: int) -> None:
    assert name in recipe_names()
    spec = make_spec(load_recipe(name))
    assert type(spec) is kind
    assert spec.images == images


def test_the_sweep_finds_what_the_command_has_made() -> None:
    for name, scale in (("imagenet100_sd14", imagenet100), ("oxford_pets_sdxl", oxford_pets), ("pocket", pocket_scale)):
        assert make_spec(load_recipe(name)).fingerprint == scale.SCALE.dataset("synthetic").fingerprint
    oracle = pocket_scale.SCALE.dataset("synthetic", {"generator": "oracle"})
    assert make_spec(load_recipe("pocket_oracle")).fingerprint == oracle.fingerprint
    stylized = make_spec(load_recipe("imagenet100_sd14_stylized"))
    assert stylized.fingerprint == imagenet100.SCALE.dataset("synthetic", {"stylized": True}).fingerprint


def test_a_plan_counts_estimates_and_says_what_is_missing(tmp_path: Path) -> None:
    found = plan("imagenet100_unclip", f"source={tmp_path}", "--store", str(tmp_path))
    assert found["images"] == 126_689 and found["shards"] == 990 and found["classes"] == 100
    assert 10 < found["hours"] < 100 and "not measured here" in found["rate_from"]
    assert 5e9 < found["bytes"] < 50e9
    assert "datagen.fetch sd2-community/stable-diffusion-2-1-unclip" in found["missing"][0]
    assert "The source images are not in" in found["missing"][1]
    assert not list(tmp_path.iterdir())
    refused = run("imagenet100_unclip", "--store", str(tmp_path))
    assert refused.exit_code == 2


def test_settings_change_the_plan(tmp_path: Path) -> None:
    base, half = plan("pocket"), plan("pocket", "steps=5", "rows_per_shard=100", "prompt_style=c, h_c")
    assert half["hours"] == pytest.approx(base["hours"] / 2)
    assert half["shards"] == 26
    assert half["fingerprint"] != base["fingerprint"]
    assert plan("pocket", "rows_per_shard=100")["fingerprint"] == base["fingerprint"]
    assert plan("pocket", "guidance=1")["hours"] == pytest.approx(base["hours"] / 2)
    (tmp_path / "partial" / base["fingerprint"]).mkdir(parents=True)
    (tmp_path / "partial" / base["fingerprint"] / "train-00000-of-00020.parquet").touch()
    assert plan("pocket", "--store", str(tmp_path))["state"] == "1 of 20 shards are there"


def test_planning_loads_neither_torch_nor_ray() -> None:
    code = (
        "import sys; sys.argv = ['generate', 'imagenet100_sd14', '--plan', '--store', 'no-such-store'];"
        "from datagen.generate import main; main(standalone_mode=False);"
        "heavy = {'torch', 'ray', 'mlflow', 'diffusers', 'timm', 'transformers'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("poket",), "There is no data set 'poket'. Did you mean 'pocket'?"),
        (("pocket", "stepz=3"), "There is no setting 'stepz'. Did you mean 'steps'?"),
        (("pocket", "steps=0"), "steps must be from 1 to 1000, not 0."),
        (("pocket", "steps"), "'steps' is not of the form key=value."),
        (("pocket", "class_names=a"), "There is no setting 'class_names'."),
        (("pocket", "scheduler=edm"), "scheduler must be one of pipeline, ddim"),
        (("pocket", "prompt_style=x"), "prompt_style must be one of c;"),
        (("pocket", "--plan", "xml"), "--plan shows a table or json, not 'xml'."),
        (("nothing.py",), "There is no data set file nothing.py."),
        (("pocket_oracle", "source=nowhere"), "The source images are not in"),
        (("pocket", "pipeline=nowhere"), "There is no folder"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(words: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    done = run(*words, "--store", str(tmp_path / "store"))
    assert done.exit_code == 2
    assert f"Error: {sentence}" in " ".join(done.output.split())
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (GenerationFailedError("shirt 3"), 1), (InputError("No."), 2)]
)
def test_exit_codes(error: BaseException, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(generate_command, "make_dataset", stop)
    monkeypatch.setattr(generate_command, "_resources", lambda *arguments: (1, 0))
    assert run("pocket", "--store", str(tmp_path)).exit_code == code


def test_a_recipe_is_a_small_file_of_your_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from datagen import pocket\n"
        "from datagen.recipes.recipe import DiffusionRecipe\n"
        "RECIPE = DiffusionRecipe(label='mine', pipeline=pocket.GENERATOR, settings={'images_per_class': 3})\n"
        "CLASSES = ['n02086910', ('my dog', 'n02114855')]\n"
    )
    spec = make_spec(load_recipe(str(tmp_path / "mine.py")))
    assert spec.class_names == ("papillon", "my dog")
    assert spec.images == 6
    for text, sentence in (("x = 1", "has no RECIPE"), ("1 / 0", "line 1 cannot be run: ZeroDivisionError")):
        (tmp_path / "mine.py").write_text(text)
        with pytest.raises(InputError, match=sentence):
            load_recipe(str(tmp_path / "mine.py"))


def test_a_damaged_set_is_named(tmp_path: Path) -> None:
    folder = Store(tmp_path).folder(make_spec(load_recipe("pocket")))
    shutil.copytree(pocket.IMAGES / "train", folder)
    assert "Already there" in run("pocket", "--store", str(tmp_path)).output
    shard = next(iter(folder.glob("*.parquet")))
    shard.write_bytes(b"short")
    done = run("pocket", "--store", str(tmp_path))
    assert done.exit_code == 2 and "has 5 bytes instead of" in " ".join(done.output.split())


def test_a_name_of_the_hub_is_a_folder_below_models_and_asked_for_before_it_is_fetched(tmp_path: Path) -> None:
    file, others = with_files(load_recipe("pocket"), ["pipeline=owner/name@v1", "steps=3"])
    recipe = file.recipe
    assert isinstance(recipe, DiffusionRecipe) and others == ["steps=3"]
    assert recipe.on_the_hub == {Path("models/name").absolute(): "owner/name@v1"}
    assert "python -m datagen.fetch owner/name@v1; or give --yes" in recipe.how_to_get
    file, _ = with_files(load_recipe("pocket"), [f"pipeline={tmp_path}"])
    assert isinstance(file.recipe, DiffusionRecipe) and file.recipe.on_the_hub == {}


def test_settings_are_parsed_by_their_type() -> None:
    assert parsed(bool, "true") is True and parsed(bool, "No") is False
    assert parsed(int | None, "3") == 3 and parsed(float, "1/4") == 0.25
    assert parsed(float, "1/0") == "1/0" and parsed(str, "3") == "3"


def test_large_files_are_read_once_for_their_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    folder.mkdir()
    weights, config = folder / "w.safetensors", folder / "config.json"
    weights.write_bytes(bytes(digests.REMEMBERED_FROM))
    config.write_text("{}")
    os.utime(weights, ns=(0, 0))
    first = digests.files_digest(folder)
    read: list[Path] = []

    def file_sha256(path: Path) -> str:
        read.append(path)
        return hashlib.sha256().hexdigest()

    monkeypatch.setattr(digests, "file_sha256", file_sha256)
    digests.files_digest.cache_clear()
    digests.files_digest(folder)
    assert read == [config]
    for change in (lambda: os.utime(weights, ns=(1, 1)), lambda: digests.memory().write_text("{broken")):
        change()
        read.clear()
        digests.files_digest.cache_clear()
        digests.files_digest(folder)
        assert weights in read
    digests.files_digest.cache_clear()
    assert len(first) == 64


def test_digests_do_without_a_cache_folder_that_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w.safetensors").write_bytes(bytes(digests.REMEMBERED_FROM))
    os.utime(tmp_path / "model" / "w.safetensors", ns=(0, 0))
    assert len(digests.files_digest(tmp_path / "model")) == 64


def test_the_safety_checker_is_no_part_of_what_a_set_is(tmp_path: Path) -> None:
    shutil.copytree(pocket.GENERATOR, tmp_path / "generator")
    before = digests.files_digest(tmp_path / "generator")
    (tmp_path / "generator" / "safety_checker").mkdir()
    (tmp_path / "generator" / "safety_checker" / "model.safetensors").write_bytes(b"weights")
    digests.files_digest.cache_clear()
    assert digests.files_digest(tmp_path / "generator") == before

"""The command of an evening with one GPU, on a CPU: everything comes from a stand-in hub, and it ends at its report."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from datagen import pocket
from datagen.core.device import Gpu
from datagen.datasets.shards import read_manifest
from datagen.datasets.spec import DerivedDataset
from datagen.recipes.class_lists import IMAGENETTE
from experiments.scales import imagenette, imagewoof
from experiments.scales import pocket as pocket_scale
from orchestrator.cli import plan_view
from orchestrator.provisions import GPU_CLASSES
from orchestrator.sweep import main
from tests.conftest import ROOT
from tests.hub_repositories import save_images, save_pipeline
from tests.stand_in_hub import SHA, stand_in_hub

SMALL = (
    *("frozen_layers=17", "direction=synthetic->real", "model=resnet50_slim", "image_size=32", "batch_size=20"),
    *("epochs=2", "warmup_epochs=1", "images_per_class=4", "steps=1", "width=32", "height=32"),
    "long_prompts=truncate",
)


def test_imagenette_is_fetched_after_one_question_and_reaches_its_report(tmp_path: Path) -> None:
    names = [item.wordnet_id for item in reversed(IMAGENETTE)]
    save_images(tmp_path / "datasets/frgfm/imagenette", "320px", names, {"train": 4, "validation": 2})
    save_pipeline(tmp_path / "models/stabilityai/sd-turbo")
    work = tmp_path / "work"
    work.mkdir()

    def sweep(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "orchestrator.sweep", "layer_importance", "--scale", "imagenette", *SMALL]
        return subprocess.run(
            [*command, "--no-dashboard", *options],
            env={**os.environ, **hub.settings, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
            cwd=work,
            text=True,
            capture_output=True,
            check=False,
        )

    with stand_in_hub(tmp_path) as hub:
        hub.cards["frgfm/imagenette"] = {"license": "apache-2.0"}
        done = sweep("--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stabilityai/sd-turbo@" in done.stdout and "apache-2.0" in done.stdout
    assert "Device: " in done.stdout and "precision=auto is float32" in done.stdout
    assert "Not all is in MLflow" not in done.stdout
    manifest = read_manifest(work / "store/imported/imagenette/train")
    # By WordNet id, though the hub's labels are in another order: a picture's path tells its class.
    assert manifest.class_names == tuple(item.name for item in IMAGENETTE)
    assert manifest.description["origin"]["revision"] == SHA
    assert json.loads((work / "models/sd-turbo/.fetched.json").read_text())["hub"] == "stabilityai/sd-turbo"
    assert not (work / "store/imported/imagenette/.hub").exists()
    assert (work / "store/studies/layer_importance/imagenette/report.html").is_file()


def test_without_a_gpu_its_plan_says_so_and_gives_guesses_by_kind_of_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plan_view, "gpus_here", list)
    shown = CliRunner().invoke(main, ["layer_importance", "--scale", "imagenette", "--plan"]).output
    assert "Estimated (no GPU here) for one card of 8 GB" in shown and f"for these {os.cpu_count()} cores" in shown
    for name in GPU_CLASSES:
        assert name in shown
    assert "Disk: about 2.94 GB to fetch" in shown and "weights of 36 trainings" in shown
    assert "guesses" in shown and "workers:" not in shown
    assert "datagen.import_images --name imagenette --hub frgfm/imagenette --config 320px --resize 160" in shown
    assert "datagen.fetch stabilityai/sd-turbo" in shown
    monkeypatch.setattr(plan_view, "gpus_here", lambda: [Gpu("A", 1), Gpu("B", 1)])
    assert "on 2 workers" in CliRunner().invoke(main, ["layer_importance", "--scale", "imagenette", "--plan"]).output


def test_its_real_and_synthetic_images_are_stored_alike() -> None:
    for scale in (imagenette.SCALE, imagewoof.SCALE):
        assert scale.hub is not None
        for name in scale.generators:
            made = scale.dataset("synthetic", {"generator": name})
            assert isinstance(made, DerivedDataset)
            assert (made.stored_size, made.image_format, made.jpeg_quality) == (scale.hub.resize, "jpeg", 95)
            assert made.images == 10_000


def test_sets_that_the_user_has_are_evaluated_on_and_others_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert imagenette.SCALE.evaluation_sets() == []
    shutil.copytree(pocket.IMAGES / "validation", tmp_path / "store/imported/imagenet_v2/validation")
    scale = replace(imagenette.SCALE, classes=pocket_scale.SCALE.classes)
    assert [images.name for images, _ in scale.evaluation_sets()] == ["imagenet_v2"]

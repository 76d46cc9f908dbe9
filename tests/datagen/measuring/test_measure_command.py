"""The command measures sets in a stored network's features, or in a timm network's, and tells what is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import timm
from click.testing import CliRunner, Result
from safetensors.torch import save_file

from datagen.measure import main
from orchestrator.storage.store import Store
from tests.orchestrator.test_unfinished import train
from trainables.spec import TrainingSpec


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, base_spec: TrainingSpec) -> Path:
    store = Store(tmp_path_factory.mktemp("encoder") / "store").create()
    train(store, base_spec)
    return store.folder(base_spec)


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("test_resnet")
    network = timm.create_model("test_resnet")
    save_file(network.state_dict(), folder / "model.safetensors")
    config = {"architecture": "test_resnet", "num_classes": 1000, "pretrained_cfg": dict(network.pretrained_cfg)}
    (folder / "config.json").write_text(json.dumps(config, default=str))
    return folder


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("kind", ["stored", "downloaded"])
def test_a_set_is_measured_against_another(
    kind: str, request: pytest.FixtureRequest, image_folders: Path, tmp_path: Path
) -> None:
    encoder = request.getfixturevalue(kind)
    out = tmp_path / "measures.json"
    done = run(image_folders / "validation", "--encoder", encoder, "--against", image_folders / "train", "--out", out)
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    assert found["images"] == 21
    assert {"vendi", "precision", "recall", "density", "coverage", "frechet distance", "coverage by class"} <= set(
        found
    )
    assert re.search(r"coverage\s+│\s+[01]", done.output)


def test_a_set_against_itself_leaks_every_image(stored: Path, image_folders: Path, tmp_path: Path) -> None:
    folder, out = image_folders / "validation", tmp_path / "measures.json"
    done = run(folder, "--encoder", stored, "--against", folder, "--out", out, "--similarity", "0.99999999")
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    assert len([pair for pair in found["leaks"] if pair[0] == pair[1]]) == 21
    assert found["frechet distance"] == pytest.approx(0, abs=1e-6) and found["coverage"] == 1
    assert "is like circle/0.png (cosine 1.0000)" in done.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("SET", "--encoder", "EMPTY"), "holds no encoder: neither a training of a store"),
        (("EMPTY", "--encoder", "STORED"), "is not a data set"),
        (("SET", "--encoder", "STORED", "--against", "SET", "--nearest", "50"), "too few for 50 nearest neighbours"),
        (("SET", "--encoder", "BROKEN"), "do not fit its network"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(
    arguments: tuple[str, ...], sentence: str, stored: Path, image_folders: Path, tmp_path: Path
) -> None:
    empty, broken = tmp_path / "empty", tmp_path / "broken"
    empty.mkdir()
    broken.mkdir()
    (broken / "model.json").write_text((stored / "model.json").read_text())
    save_file({"one": timm.create_model("test_resnet").fc.weight.data}, broken / "weights.safetensors")
    places = {"SET": image_folders / "validation", "EMPTY": empty, "STORED": stored, "BROKEN": broken}
    done = run(*(places.get(argument, argument) for argument in arguments))
    assert done.exit_code == 2
    assert sentence in done.output.replace("\n", " ") and "Traceback" not in done.output

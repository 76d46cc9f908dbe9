"""The bases that are stored are compared layer by layer, and nothing is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from datagen.datasets.spec import RealDataset
from orchestrator.representations import main, representation_table
from orchestrator.storage.store import Store
from tests.conftest import real_dataset
from tests.orchestrator.test_unfinished import train
from trainables.spec import TrainingSpec


def test_every_layer_is_measured_on_both_kinds_of_images(
    base_spec: TrainingSpec, image_folders: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store").create()
    made: RealDataset = replace(real_dataset(image_folders, "train"), name="synthetic")
    other = replace(base_spec, train=made, seed=1)
    train(store, base_spec)
    train(store, other)
    table = representation_table(base_spec, other, store)
    assert list(table["layer"]) == list(range(1, 18))
    assert table.notna().all().all()
    assert table[["cka_real", "cka_synthetic"]].apply(lambda column: column.between(0, 1 + 1e-6)).all().all()
    percent = table.drop(columns=["layer", "cka_real", "cka_synthetic"])
    assert percent.apply(lambda column: column.between(0, 100)).all().all()
    same = representation_table(base_spec, base_spec, store)
    assert same["cka_real"].to_numpy() == pytest.approx(1)
    assert (same["probe_real"] == same["probe_synthetic"]).all()


def test_without_the_bases_the_command_that_makes_them_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["epochs=2", "--store", str(tmp_path / "none")])
    assert done.exit_code == 2
    assert "python -m orchestrator.sweep layer_importance epochs=2" in done.output

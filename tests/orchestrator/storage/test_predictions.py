"""Predictions are stored by image, made once, and removed with their training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from datagen.datasets.virtual import TransformedDataset
from orchestrator.execution.evaluation import predict_and_publish
from orchestrator.execution.messages import ImagesDrawn
from orchestrator.storage.predictions import read_metrics, read_predictions
from orchestrator.storage.store import Store
from tests.conftest import CLASSES
from tests.orchestrator.test_unfinished import train
from trainables.evaluation.prediction_spec import PredictionSpec
from trainables.spec import TrainingSpec


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, base_spec: TrainingSpec) -> Store:
    store = Store(tmp_path_factory.mktemp("predicted") / "store").create()
    train(store, base_spec)
    return store


def on(spec: TrainingSpec, transformation: str, labels: tuple[int, ...] = ()) -> PredictionSpec:
    images = TransformedDataset(
        name=transformation, class_names=CLASSES, whole=spec.validation, transformation=transformation
    )
    return PredictionSpec(training=spec, images=images, labels=labels)


def made(store: Store, *specs: PredictionSpec) -> list[object]:
    reports: list[object] = []
    predict_and_publish(specs, store, reports.append, reports.append)
    return reports


def test_a_trainings_own_validation_predictions_come_with_it(store: Store, base_spec: TrainingSpec) -> None:
    told = PredictionSpec(training=base_spec, images=base_spec.validation)
    assert store.has(told)
    found = read_predictions(store, told)
    assert found.keys[:3] == ["circle/0.png", "square/0.png", "cross/0.png"]
    assert found.logits.shape == (21, 3) and (found.logits.max(1) == 0).all()
    top1 = store.read_model(base_spec).history[-1]["top1"]
    assert read_metrics(store, told)["top1"] == pytest.approx(top1)
    assert 100 * (found.logits.argmax(1) == found.labels).mean() == pytest.approx(top1)


def test_another_set_is_predicted_from_what_is_stored_and_once(
    store: Store, base_spec: TrainingSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = on(base_spec, "noise:5"), on(base_spec, "grey:1")
    assert made(store, *specs)[-1] == ImagesDrawn(42, 42)
    before = [store.folder(spec).stat().st_mtime_ns for spec in specs]
    monkeypatch.setattr("trainables.evaluation.predict.predict", lambda *arguments, **more: pytest.fail("again"))
    made(store, *specs)
    assert [store.folder(spec).stat().st_mtime_ns for spec in specs] == before
    assert read_metrics(store, specs[0])["nll"] != read_metrics(store, specs[1])["nll"]


def test_images_of_classes_that_the_training_does_not_know_are_left_out(store: Store, base_spec: TrainingSpec) -> None:
    spec = on(base_spec, "contrast:1", labels=(2, -1, 0))
    made(store, spec)
    found = read_predictions(store, spec)
    assert sorted(set(found.labels)) == [0, 2] and len(found.keys) == 14
    assert found.shared == spec.shared_classes == (0, 2)
    assert all(key.startswith(("circle", "cross")) for key in found.keys)


def test_rows_are_plain_parquet(store: Store, base_spec: TrainingSpec) -> None:
    folder = store.folder(PredictionSpec(training=base_spec, images=base_spec.validation))
    table = pq.read_table(folder / "predictions.parquet")
    assert table.column_names == ["key", "label", "logits"]
    assert str(table.schema.field("logits").type).startswith("fixed_size_list") and table.num_rows == 21
    assert np.asarray(table["logits"][0].as_py()).shape == (3,)


def test_a_training_that_failed_is_passed_over(store: Store, base_spec: TrainingSpec) -> None:
    failed = replace(base_spec, learning_rate=1e30)
    store.publish_model(failed, [], "it exploded", lambda path: None)
    reports = made(store, on(failed, "grey:1"))
    assert reports[0] == "real s0 on grey:1 is left out: the training failed: it exploded"
    assert not store.has(on(failed, "grey:1"))


def test_what_a_training_has_predicted_is_removed_with_it(tmp_path: Path, base_spec: TrainingSpec) -> None:
    store = Store(tmp_path / "store").create()
    train(store, base_spec)
    made(store, spec := on(base_spec, "grey:1"))
    store.remove(base_spec)
    assert not store.has(spec) and not list((store.root / "predictions").iterdir())

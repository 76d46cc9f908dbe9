"""A report says what the networks predict: each set's accuracy, the classes that gain and lose, who agrees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datagen.core.errors import InputError
from orchestrator.cli.overrides import apply_overrides
from orchestrator.planning.catalog import load
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.reporting.evaluations import Evaluations
from orchestrator.reporting.report import Report, write_report
from orchestrator.reporting.tables import finished_models
from orchestrator.storage import predictions
from orchestrator.storage.predictions import publish_predictions
from orchestrator.storage.store import Store
from orchestrator.tracking.address import tracking_uri
from orchestrator.tracking.client import open_client
from orchestrator.tracking.recorder import Tracker
from trainables.evaluation.prediction_spec import PredictionSpec

IMAGES, CLASSES = 200, 10
LABELS = np.arange(IMAGES) % CLASSES


def logits(right: float, lost: int, seed: int) -> np.ndarray:
    """Right for a share of the images, and never for the class `lost`."""
    drawn = np.random.default_rng(seed)
    hit = (drawn.random(IMAGES) < right) & (LABELS != lost)
    said = np.where(hit, LABELS, (LABELS + 1) % CLASSES)
    return (5 * np.eye(CLASSES)[said] - 5).astype(np.float16)


@pytest.fixture(scope="module")
def plan_and_store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Store]:
    """Two bases with two seeds each, on validation images and on grey ones; made-up predictions."""
    store = Store(tmp_path_factory.mktemp("evaluated") / "store").create()
    study, scale = apply_overrides(*load("layer_importance", None), ["evaluations=grey", "frozen_layers=17"])
    plan = make_plan(study, scale, 2, store)
    row = {"train_loss": 0.5, "learning_rate": 0.1, "seconds": 1.0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictions, "keys_of", lambda store, spec: [f"{n}.png" for n in range(IMAGES)])
        for spec in plan.trials:
            right = 0.8 if str(spec.direction) == "real" else 0.6
            history = [{"epoch": epoch, "top1": 100 * right, "top5": 99.0, **row} for epoch in range(1, 13)]
            store.publish_model(spec, history, None, lambda path: path.write_bytes(b"weights"))
            for told in (spec.validation, scale.evaluation_sets()[0][0]):
                lost = 3 if str(spec.direction) == "synthetic" else -1
                publish_predictions(
                    store, PredictionSpec(training=spec, images=told), logits(right, lost, spec.seed), LABELS
                )
    return make_plan(study, scale, 2, store), store


@pytest.fixture(scope="module")
def report(plan_and_store: tuple[Plan, Store]) -> Report:
    plan, store = plan_and_store
    return write_report(plan, store, finished_models(plan, store), "the command")


def text(report: Report, name: str) -> str:
    return next(path for path in report.files if path.name == name).read_text()


def test_every_set_is_a_column_and_every_trial_a_row_of_the_table(report: Report) -> None:
    page = text(report, "report.md")
    assert (
        "| trained              | validation   | grey:1   | calibration error   | negative log-likelihood   |" in page
    )
    rows = text(report, "evaluations.csv").splitlines()
    assert len(rows) == 1 + 8 * 2
    assert rows[0].startswith("direction,") and ",set,images,top1,top5,nll,brier,ece,broken" in rows[0]


def test_classes_that_lose_and_gain_are_named_and_the_bases_compared(report: Report) -> None:
    page = text(report, "report.md")
    by_class = page[page.index("## By class") :]
    first = next(line for line in by_class.splitlines() if line.startswith("| ") and "class" not in line)
    assert first.split("|")[3].strip() == "0.0" and first.split("|")[5].strip() == "20"  # The lost class is on top.
    assert "Trained on synthetic images against real ones: -" in page
    assert "over 200 images and 2 seeds" in page
    assert "A difference of 1 point between them would need" in page
    for said in ("By set of images", "By class", "Trained on synthetic images against real ones"):
        assert said in text(report, "report.html")


def test_mlflow_has_each_further_set_as_a_metric(report: Report, plan_and_store: tuple[Plan, Store]) -> None:
    plan, store = plan_and_store
    assert len(report.evaluated) == 8 and all(set(top1) == {"grey:1"} for top1 in report.evaluated.values())
    with Tracker(plan, store) as tracker:
        tracker.record_results(finished_models(plan, store), [], "", complete=True, evaluated=report.evaluated)
    client = open_client(tracking_uri(store))
    runs = client.search_runs(["1"], filter_string="tags.role = 'trial'") or client.search_runs(
        [item.experiment_id for item in client.search_experiments()], filter_string="tags.role = 'trial'"
    )
    told = {run.data.tags["fingerprint"]: run.data.metrics.get("top1/grey:1") for run in runs}
    assert told == {key: pytest.approx(top1["grey:1"]) for key, top1 in report.evaluated.items()}


def test_without_predictions_nothing_is_said(tmp_path: Path) -> None:
    study, scale = load("layer_importance", None)
    store = Store(tmp_path / "store").create()
    empty = write_report(make_plan(study, scale, 1, store), store, {}, "the command")
    assert "By set of images" not in text(empty, "report.md")
    assert Evaluations().further() == {} == dict(empty.evaluated)


def test_a_damaged_sidecar_is_told(plan_and_store: tuple[Plan, Store]) -> None:
    plan, store = plan_and_store
    spec = PredictionSpec(training=plan.trials[0], images=plan.trials[0].validation)
    path = store.folder(spec) / "prediction.json"
    before = path.read_text()
    path.write_text(before.replace("top1", "top2"))
    try:
        with pytest.raises(InputError, match=r"prediction.json is damaged .* --repair"):
            predictions.read_metrics(store, spec)
    finally:
        path.write_text(before)

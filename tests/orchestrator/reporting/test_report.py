"""The report: honest about what its numbers are."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from orchestrator.claims.kinds import DropsAt
from orchestrator.cli.overrides import apply_overrides
from orchestrator.planning.catalog import load_scale, load_study
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.report import main
from orchestrator.reporting.report import Report, write_report
from orchestrator.reporting.report_data import gather
from orchestrator.reporting.samples import SIDE, sample_classes, sample_strips
from orchestrator.reporting.tables import finished_models, point_table, trial_table, with_published
from orchestrator.storage.store import Store
from orchestrator.tracking.address import tracking_uri
from orchestrator.tracking.recorder import Tracker
from trainables.spec import TrainingSpec


def curve(top1: float, epochs: int = 8) -> list[dict[str, float]]:
    """A history that ends with five epochs around `top1`."""
    noise = [-30.0] * (epochs - 5) + [-2.0, -1.0, 0.0, 1.0, 2.0]
    return [
        {"epoch": n, "top1": top1 + d, "top5": 99.0, "train_loss": 0.5, "learning_rate": 0.1, "seconds": 1.0}
        for n, d in enumerate(noise, 1)
    ]


CLAIM = DropsAt("a drop at the end", "a paper", direction="synthetic->real", depth=17)


def reported(
    tmp_path: Path, seeds: int = 1, *, skip: str = "", fail: str = "", published: str | None = None
) -> tuple[Plan, Report]:
    """A report on made-up trainings: real 80, synthetic 70, transfers 79 (or 60 at N = 17); seed s adds s points."""
    store = Store(tmp_path / "store").create()
    study, scale = apply_overrides(
        replace(load_study("layer_importance"), claims=(CLAIM,)),
        replace(load_scale("pocket"), published=published),
        ["frozen_layers=1,16,17"],
    )
    plan = make_plan(study, scale, seeds, store)
    for spec in plan.trials:
        if skip and skip in spec.title:
            continue
        failure = "the training loss was nan in epoch 2" if fail and fail in spec.title else None
        store.publish_model(spec, curve(made_up(spec)), failure, lambda path: path.write_bytes(b"weights"))
    return plan, write_report(plan, store, finished_models(plan, store), "the command")


def made_up(spec: TrainingSpec) -> float:
    level = {"real": 80.0, "synthetic": 70.0}.get(str(spec.direction), 60.0 if spec.frozen_layers == 17 else 79.0)
    return level + spec.seed


def test_one_seed_shows_the_papers_spread_over_the_last_five_epochs(tmp_path: Path) -> None:
    _, report = reported(tmp_path)
    real = report.points.iloc[0]
    assert real["top1_mean"] == pytest.approx(80)
    assert real["top1_std_epochs"] == pytest.approx(np.std([-2, -1, 0, 1, 2]))
    assert report.spread == "± standard deviation over the last 5 epochs of one run"


def test_several_seeds_show_the_spread_over_seeds_and_say_so(tmp_path: Path) -> None:
    _, report = reported(tmp_path, seeds=3)
    real = report.points.iloc[0]
    assert real["seeds"] == 3
    assert real["top1_mean"] == pytest.approx(81)
    assert real["top1_std_seeds"] == pytest.approx(np.std([80, 81, 82], ddof=1))
    assert "over 3 seeds" in report.files[0].read_text()


def test_the_verdict_is_said_from_the_numbers(tmp_path: Path) -> None:
    _, report = reported(tmp_path)
    assert report.verdict.startswith(
        "1 of 18 layers from synthetic images cost 1 point or more "
        "(top-1 80.0 % with all layers trained on real images): 1 costs 1.0, all 17 cost 20.0 (one seed: not tested). "
        "1 to 16 of 18 layers (2 of these depths measured) can come from real images at a cost below 1 point "
        "(top-1 70.0 % with all layers trained on synthetic images): 1 gains 9.0, all 17 cost 10.0"
    )
    assert "Trained on real images: 80.0 % top-1, on synthetic ones: 70.0 %, 10.0 points less." in report.verdict


def test_what_is_missing_or_failed_is_shown_as_such(tmp_path: Path) -> None:
    plan, report = reported(tmp_path, skip="synthetic->real N=16", fail="real->synthetic N=1 ")
    statuses = dict(zip([spec.title for spec in plan.trials], report.trials["status"], strict=True))
    assert statuses["synthetic->real N=16 s0"] == "missing"
    assert statuses["real->synthetic N=1 s0"] == "failed"
    page = report.files[0].read_text()
    assert page.count("| missing") == 2 * 3
    assert "Failed: real->synthetic N=1 s0: the training loss was nan in epoch 2" in page
    assert "Missing: synthetic->real N=16 s0." in page
    assert "Of 8 trials 1 are missing and 1 failed." in report.verdict


def test_a_pocket_result_never_stands_beside_published_numbers(tmp_path: Path) -> None:
    _, report = reported(tmp_path)
    assert "published_top1" not in report.points
    assert "published" not in report.files[0].read_text()


def test_a_papers_scale_shows_published_beside_measured(tmp_path: Path) -> None:
    _, report = reported(tmp_path, published="imagenet100")
    rows = report.points.set_index(["direction", "frozen_layers"])
    assert rows.loc[("real", 0), "published_top1"] == 87.8
    assert rows.loc[("synthetic->real", 17), "published_top1"] == 73.0
    assert rows.loc[("real->synthetic", 17), "published_top1"] == 85.2
    assert rows.loc[("synthetic->real", 17), "difference"] == pytest.approx(60.0 - 73.0)
    assert "| 87.8 ± 0.1" in report.files[0].read_text()


def test_every_point_of_the_papers_tables_has_its_published_number(tmp_path: Path) -> None:
    store = Store(tmp_path / "store").create()
    study, scale = load_study("layer_importance"), load_scale("pocket")
    plan = make_plan(study, scale, 1, store)
    for data_set in ("imagenet100", "oxford_pets"):
        points = with_published(point_table(trial_table(plan, {})), "layer_importance", data_set)
        assert len(points) == 36
        assert points["published_top1"].notna().all()


def test_the_same_results_make_the_same_files(tmp_path: Path) -> None:
    first, second = (reported(tmp_path / name)[1] for name in ("one", "two"))
    for one, other in zip(first.files, second.files, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_several_seeds_are_tested_and_the_outcome_is_said_in_words(tmp_path: Path) -> None:
    _, report = reported(tmp_path, seeds=3)
    page = report.files[0].read_text()
    assert "-20.0, significant (p < 0.001)" in page
    assert "differences from the baselines are significant" in report.verdict
    assert "[78.5, 83.5]" in page
    assert "95 % interval over 3 seeds of the training, on one set of images (Student's t)" in page
    assert "it is 1.4 points in the median. It says nothing about seeds." in page


def test_noise_is_no_significant_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0)
    monkeypatch.setitem(globals(), "made_up", lambda spec: 80 + noise.normal())
    _, report = reported(tmp_path, seeds=3)
    assert "No significant difference from the baselines (7 comparisons, 3 seeds)." in report.verdict
    assert ", no significant difference |" in report.files[0].read_text()


def test_one_seed_is_not_tested_and_the_report_says_so(tmp_path: Path) -> None:
    _, report = reported(tmp_path)
    assert "One seed: differences are not tested" in report.verdict
    assert "-20.0, not tested" in report.files[0].read_text()


def test_claims_are_checked_and_a_pocket_result_is_no_evidence(tmp_path: Path) -> None:
    _, report = reported(tmp_path, seeds=3)
    assert "The papers' claims are of other data: not applicable here." in report.verdict
    page = report.files[0].read_text()
    assert "a drop at the end" in page
    assert "drop from N = 16 to 17: +19.00" in page
    assert "is no evidence about the papers" in page
    _, single = reported(tmp_path / "single")
    assert "not enough seeds" not in single.verdict + single.files[0].read_text()
    _, papers = reported(tmp_path / "papers", seeds=3, published="imagenet100")
    assert "Of 1 claims of the papers: 1 confirmed." in papers.verdict


def test_the_files_of_a_report_are_all_named_and_there(tmp_path: Path) -> None:
    _, report = reported(tmp_path)
    tables = [f"{name}.{kind}" for name in ("table", "trials", "claims") for kind in ("csv", "parquet")]
    names = {"report.md", "report.html", "figure.png", "figure.svg", *tables}
    assert {path.name for path in report.files} == names == {path.name for path in report.files[0].parent.iterdir()}


def test_the_page_holds_everything_in_itself_and_escapes_what_it_shows(tmp_path: Path) -> None:
    _, report = reported(tmp_path, fail="real->synthetic N=1 ", published="imagenet100")
    page = next(path for path in report.files if path.suffix == ".html").read_text()
    assert "<script" not in page
    sources = [part.split('"')[0] for part in page.split('src="')[1:]]
    assert len(sources) > 5
    assert all(source.startswith("data:image/") for source in sources)
    assert "http" not in page.replace("http-equiv", "")
    assert "synthetic-&gt;real" in page and "synthetic->real" not in page
    for shown in ("scale pocket", "the command", "87.8 ± 0.1", "the training loss was nan", "torch", "T-shirt"):
        assert shown in page, shown


def test_the_cost_counts_every_training_once_and_what_was_measured_of_it(tmp_path: Path) -> None:
    plan, _ = reported(tmp_path)
    usage = {"cpu_seconds": 1800.0, "energy_wh": 500.0}
    models = {
        key: replace(model, usage=usage) for key, model in finished_models(plan, Store(tmp_path / "store")).items()
    }
    cost = gather(plan, None, models).cost
    assert cost.trainings == len(models) == 8
    assert cost.training == 8 * 8
    assert cost.sentence() == "8 trainings in 64 seconds of one worker; 4.0 hours of a CPU core; 4 kWh of GPUs."


def test_a_report_in_one_format_writes_no_other(tmp_path: Path) -> None:
    plan, report = reported(tmp_path)
    for path in report.files:
        path.unlink()
    again = write_report(plan, Store(tmp_path / "store"), {}, "the command", ["html"])
    assert [path.name for path in again.files] == ["report.html", "figure.png", "figure.svg"]
    assert again.verdict == "Too few trials are done for a verdict."


def test_sample_images_are_of_the_class_they_are_shown_for(image_folders: Path) -> None:
    strips = sample_strips(image_folders / "train", "real")
    assert [strip.class_name for strip in strips] == ["circle", "square", "cross"]
    levels = []
    for strip in strips:
        with Image.open(io.BytesIO(base64.b64decode(strip.image.split(",")[1]))) as picture:
            assert picture.height == SIDE
            levels.append(np.asarray(picture.convert("L"))[:, :SIDE].mean())
    assert levels == pytest.approx([50, 110, 170], abs=10)
    assert sample_strips(image_folders / "nowhere", "real") == []
    assert sample_classes([str(n) for n in range(100)]) == [0, 25, 50, 74, 99]


def command(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["layer_importance", "frozen_layers=1,16,17", *arguments])
    return result.exit_code, result.output


def test_the_command_rebuilds_the_same_report_from_the_store_and_from_mlflow_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = Store(tmp_path / "store").create()
    plan, first = reported(tmp_path, fail="synthetic->real N=1 ")
    with Tracker(plan, store) as tracker:
        tracker.record_results(finished_models(plan, store), first.files, first.verdict, complete=False)
    assert tracker.lost == []
    table = store.study_folder("layer_importance", "pocket") / "trials.csv"
    written = table.read_text()
    table.unlink()
    code, output = command("--store", str(store.root), "--format", "csv")
    assert code == 0, output
    assert table.read_text() == written
    uri = tracking_uri(store)
    code, output = command("--store", str(tmp_path / "empty"), "--from-mlflow", uri)
    assert code == 0, output
    rebuilt = Store(tmp_path / "empty").study_folder("layer_importance", "pocket")
    pd.testing.assert_frame_equal(pd.read_csv(rebuilt / "trials.csv"), pd.read_csv(table))
    assert "not at hand" in (rebuilt / "report.html").read_text()


def test_the_command_takes_all_seeds_that_there_are(tmp_path: Path) -> None:
    reported(tmp_path, seeds=2)
    code, output = command("--store", str(tmp_path / "store"), "--format", "md")
    assert code == 0, output
    assert "± standard deviation over 2 seeds" in output


def test_the_command_says_what_it_cannot_read(tmp_path: Path) -> None:
    assert command("--store", str(tmp_path / "none"))[0] == 2
    code, output = command("--store", str(tmp_path), "--from-mlflow", f"sqlite:///{tmp_path / 'no.db'}")
    assert code == 2
    assert "There is no MLflow database" in output
    assert not (tmp_path / "no.db").exists()
    assert command("--format", "pdf")[0] == 2

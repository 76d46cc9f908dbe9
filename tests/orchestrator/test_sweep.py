"""The command, from start to end, as a user meets it: in processes of its own, on a small grid."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient
from mlflow.entities import Run

from datagen.storage.object_store import Bucket
from orchestrator.storage.store import Store
from orchestrator.sweep import main
from tests.conftest import ROOT

SMALL = ("epochs=3", "images_per_class=16", "steps=2", "frozen_layers=1,17")
TRIALS = 6
DASHBOARD = ("--no-dashboard",)
"""Its processes take the seconds that a sweep of this size trains for; the first run alone has one."""


def sweep(*arguments: str, timeout: int = 600) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200"}
    command = [sys.executable, "-m", "orchestrator.sweep", *DASHBOARD, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The store and the output of a small sweep that nobody interrupted."""
    store = tmp_path_factory.mktemp("sweep") / "store"
    done = sweep("layer_importance", *SMALL, "--store", str(store), "--dashboard")
    assert done.returncode == 0, done.stdout + done.stderr
    return store, done.stdout


@pytest.fixture
def store(first_run: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of the finished store, to be changed."""
    shutil.copytree(first_run[0], tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def untrained(store: Path) -> Path:
    """A store that has the images of the small sweep, and nothing else."""
    for name in ("models", "studies", "mlflow", "logs"):
        shutil.rmtree(store / name, ignore_errors=True)
    (store / "mlflow.db").unlink()
    return store


TABLE = "studies/layer_importance/pocket/table.csv"


def table(store: Path) -> bytes:
    return (store / TABLE).read_bytes()


def published(store: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in store.glob("models/*/_manifest.json")}


def looked(*arguments: str) -> Result:
    """The command in this process, for what starts no Ray: a process of its own takes seconds to start."""
    return CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})


def refused(*arguments: str) -> str:
    done = looked(*arguments)
    assert done.exit_code == 2 and isinstance(done.exception, SystemExit), done.output
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


def refused_in_a_process(*arguments: str) -> str:
    done = sweep(*arguments)
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


def test_addresses_come_first_and_results_last(first_run: tuple[Path, str]) -> None:
    lines = first_run[1].splitlines()
    assert f"{TRIALS} trials, {TRIALS} to run" in lines[0]
    assert re.match(r"MLflow: (\S*/)?mlflow ui --backend-store-uri sqlite:///", lines[1])
    assert any(line.startswith("Ray dashboard: http://127.0.0.1:") for line in lines[:5])
    assert any("Trained on real images:" in line for line in lines[-7:])
    assert any(line.startswith("Figure: ") for line in lines[-5:])
    assert any(re.fullmatch(r"Report: .+/report\.html", line) for line in lines[-6:])
    assert any(re.fullmatch(r"Time: \d+:\d\d", line) for line in lines[-4:])


def test_progress_is_told_epoch_by_epoch_in_plain_lines(first_run: tuple[Path, str]) -> None:
    assert "\x1b" not in first_run[1]
    for epoch in (1, 2, 3):
        assert re.search(rf"%  real s0: epoch {epoch} of 3, top-1 \d", first_run[1])
    assert re.search(r"real->synthetic N=1,17 s0: epoch 3 of 3, top-1 [\d.]+ to [\d.]+", first_run[1])


def test_the_tables_have_a_row_for_every_trial_and_point(first_run: tuple[Path, str]) -> None:
    folder = first_run[0] / "studies/layer_importance/pocket"
    trials = pd.read_parquet(folder / "trials.parquet")
    assert len(trials) == TRIALS
    assert set(trials["status"]) == {"done"}
    assert pd.read_parquet(folder / "table.parquet").to_csv(index=False) == (folder / "table.csv").read_text()
    for column in ("top1_mean", "top5_mean"):
        assert trials[column].between(0, 100).all()


def test_the_report_shows_the_papers_table_and_says_pocket(first_run: tuple[Path, str]) -> None:
    folder = first_run[0] / "studies/layer_importance/pocket"
    page = (folder / "report.md").read_text()
    assert page.startswith("# layer_importance, scale pocket")
    assert re.search(r"\| synthetic->real \| 1-17 +\| 1 +\| [\d.]+ ± [\d.]+ +\|", page)
    assert "± standard deviation over all 3 epochs of one run" in page
    assert "published" not in page
    assert (folder / "figure.png").stat().st_size > 10_000
    assert "<svg" in (folder / "figure.svg").read_text()


def test_a_table_is_computed_from_the_last_epochs_in_the_store(first_run: tuple[Path, str]) -> None:
    rows = pd.read_csv(first_run[0] / "studies/layer_importance/pocket/trials.csv")
    for row in rows.itertuples():
        history = json.loads((first_run[0] / "models" / str(row.fingerprint) / "model.json").read_text())["history"]
        top1 = pd.Series([epoch["top1"] for epoch in history[-5:]])
        assert row.top1_mean == pytest.approx(top1.mean())
        assert row.top1_std_epochs == pytest.approx(top1.std(ddof=0))


def test_mlflow_has_a_parent_with_a_child_for_each_trial(first_run: tuple[Path, str]) -> None:
    parent, children = mlflow_runs(first_run[0])
    assert parent.info.status == "FINISHED"
    assert len(children) == TRIALS
    names = {child.info.run_name for child in children}
    assert {"real s0", "synthetic s0", "N=1 synthetic->real s0", "N=17 real->synthetic s0"} <= names
    for child in children:
        assert child.info.status == "FINISHED"
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert {"study", "scale", "fingerprint", "direction", "seed"} <= set(child.data.tags)
        assert {"frozen_layers", "trained_on", "pretrained_on", "epochs"} <= set(child.data.params)


def test_mlflow_has_every_epochs_metrics_and_the_data_sets(first_run: tuple[Path, str]) -> None:
    _, children = mlflow_runs(first_run[0])
    client = MlflowClient(f"sqlite:///{first_run[0] / 'mlflow.db'}")
    for child in children:
        history = json.loads((first_run[0] / "models" / child.data.tags["fingerprint"] / "model.json").read_text())[
            "history"
        ]
        for metric in ("top1", "top5", "train_loss"):
            logged = [(m.step, m.value) for m in client.get_metric_history(child.info.run_id, metric)]
            assert logged == [(epoch["epoch"], pytest.approx(epoch[metric])) for epoch in history]
        inputs = {item.tags[0].value: item.dataset.digest for item in child.inputs.dataset_inputs}
        assert set(inputs) == {"training", "evaluation"}
    digests = {item.dataset.digest for child in children for item in child.inputs.dataset_inputs}
    generated = next((first_run[0] / "datasets").iterdir()).name
    assert generated[:36] in digests


def test_mlflow_has_the_report(first_run: tuple[Path, str]) -> None:
    parent, _ = mlflow_runs(first_run[0])
    client = MlflowClient(f"sqlite:///{first_run[0] / 'mlflow.db'}")
    names = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert {"report.md", "figure.png", "figure.svg", "table.csv", "trials.parquet"} <= names


def test_the_same_command_again_trains_nothing_and_prints_the_report(store: Path) -> None:
    before, result = published(store), table(store)
    again = sweep("layer_importance", *SMALL, "--store", str(store))
    assert again.returncode == 0
    assert f"{TRIALS} trials, 0 to run" in again.stdout
    assert "Starting Ray" not in again.stdout
    assert "Trained on real images" in again.stdout
    assert published(store) == before
    assert table(store) == result


def test_ctrl_c_exits_130_and_the_same_command_goes_on_to_the_same_table_though_another_study_ended_meanwhile(
    first_run: tuple[Path, str], untrained: Path
) -> None:
    arguments = ["layer_importance", *SMALL, "--store", str(untrained)]
    process = start(arguments)
    output = read_until("real->synthetic .*epoch 1", process)
    os.kill(process.pid, signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 130, output + rest + errors
    assert "goes on where this one stopped" in rest + errors
    checkpoints = set(untrained.glob("partial/*/*.safetensors"))
    other = sweep(
        "normalization",
        *SMALL[:3],
        "--only",
        "direction == 'real' and normalization == 'imagenet'",
        "--store",
        str(untrained),
    )
    assert other.returncode == 0, other.stdout + other.stderr
    assert checkpoints and set(untrained.glob("partial/*/*.safetensors")) == checkpoints
    done = sweep(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert table(untrained) == table(first_run[0])
    epochs = reported_epochs(output + rest + done.stdout)
    assert len(epochs) == len(set(epochs)), epochs  # None of those reported is trained again.
    assert not list((untrained / "partial").iterdir())


def test_a_sweep_in_an_object_store_that_was_killed_is_finished_by_another_machine_with_the_same_table(
    first_run: tuple[Path, str], s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["layer_importance", *SMALL, "--store", f"{s3}/killed"]
    monkeypatch.setenv("MINDGAP_CACHE", str(tmp_path / "one"))
    for path in (first_run[0] / "store.json", *first_run[0].glob("datasets/*/*")):
        Bucket(f"{s3}/killed").upload(path, path.relative_to(first_run[0]).as_posix())
    epochs = run_until("real->synthetic .*epoch 1", arguments, signal.SIGKILL)
    monkeypatch.setenv("MINDGAP_CACHE", str(tmp_path / "other"))
    state = sweep(*arguments, "--status").stdout
    assert "The last sweep is dead" in state
    assert re.search(r"real s0 +done", state)
    done = sweep(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    (other,) = (tmp_path / "other").glob("*-killed-*")
    assert table(other) == table(first_run[0])
    assert f"kept in {s3}/killed too" in done.stdout
    epochs += reported_epochs(done.stdout)
    assert len(epochs) == len(set(epochs)), epochs
    assert not (other / "partial").exists() or not list((other / "partial").iterdir())


def test_a_loss_that_explodes_fails_its_trials_with_exit_code_1(untrained: Path) -> None:
    arguments = ["layer_importance", *SMALL[:3], "frozen_layers=17", "learning_rate=1e30", "--store", str(untrained)]
    done = sweep(*arguments, "--only", "direction in ('real', 'real->synthetic')")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "dashboard" not in done.stdout
    assert re.search(r"real s0 failed: the training loss was (nan|inf)", done.stdout)
    _, children = mlflow_runs(untrained)
    reasons = {run.info.run_name: run.data.tags.get("failure", "") for run in children}
    assert "training loss was" in reasons["real s0"]
    assert "Its base, real s0, failed" in reasons["N=17 real->synthetic s0"]


def test_truncated_files_are_named_and_made_again_on_request_beside_the_trials_of_a_new_value(store: Path) -> None:
    again = sweep("layer_importance", *SMALL, "--store", str(store))  # A copied store begins its records anew.
    assert again.returncode == 0, again.stdout + again.stderr
    parent, children = mlflow_runs(store)
    assert len(children) == TRIALS
    before, result = published(store), pd.read_csv(store / TABLE)
    kinds = ("models/*/weights.safetensors", "datasets/*/train-00000-of-*.parquet")
    damaged = [sorted(store.glob(kind))[0] for kind in kinds]
    for path in damaged:
        whole = path.read_bytes()
        path.write_bytes(whole[:-10])
        message = refused("layer_importance", *SMALL, "--store", str(store))
        assert path.name in message
        assert "--repair" in message
        path.write_bytes(whole)
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-10])
    grown = sweep("layer_importance", *SMALL[:3], "frozen_layers=1,9,17", "--store", str(store), "--repair")
    assert grown.returncode == 0, grown.stdout + grown.stderr
    assert "will be made again" in grown.stdout
    after = published(store)
    assert len(after) == len(before) + 2
    assert {path for path in before if after[path] != before[path]} == {str(damaged[0].with_name("_manifest.json"))}
    rows = pd.read_csv(store / TABLE)
    pd.testing.assert_frame_equal(rows[rows["frozen_layers"] != 9].reset_index(drop=True), result)
    same_parent, children = mlflow_runs(store)
    assert same_parent.info.run_id == parent.info.run_id
    assert len(children) == TRIALS + 2


def test_a_plan_writes_nothing(tmp_path: Path) -> None:
    shown = looked("layer_importance", "--plan", "--store", str(tmp_path / "store"))
    assert shown.exit_code == 0
    assert "36 trials, 0 to reuse, 36 to run" in shown.stdout
    assert "Estimated" in shown.stdout
    assert not (tmp_path / "store").exists()


def test_a_plan_as_json_says_what_is_reused(store: Path) -> None:
    shown = sweep("layer_importance", *SMALL[:3], "frozen_layers=1,2,17", "--plan", "json", "--store", str(store))
    document = json.loads(shown.stdout)
    actions = {trial["title"]: trial["action"] for trial in document["trials"]}
    assert actions["synthetic->real N=17 s0"] == "reuse"
    assert actions["synthetic->real N=2 s0"] == "run"


def test_without_a_study_the_studies_are_listed_with_scales_and_recipes() -> None:
    listed = looked()
    assert listed.exit_code == 0
    assert "layer_importance" in listed.stdout
    assert "--scale NAME: imagenet100, imagenette, imagewoof, own, oxford_pets, pocket" in listed.stdout
    assert "recipe=NAME: deit, papers, pretty, resnet_a3" in listed.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["layer_importence"], "There is no study 'layer_importence'. Did you mean 'layer_importance'?"),
        (["layer_importance", "--scale", "poket"], "There is no scale 'poket'. Did you mean 'pocket'?"),
        (["layer_importance", "epoch=3"], "There is no setting 'epoch'. Did you mean 'epochs'?"),
        (["layer_importance", "frozen_layers=19"], "frozen_layers must be from 0"),
        (["layer_importance", "fraction=0"], "fraction must be above 0 and at most 1"),
        (["layer_importance", "fraction=2"], "fraction must be above 0 and at most 1"),
        (["layer_importance", "--plan", "yaml"], "--plan shows a table or json"),
        (["layer_importance", "--store", "/proc/nowhere"], "cannot be written"),
    ],
)
def test_a_mistake_costs_one_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sentence in refused(*arguments)


def test_a_cluster_that_is_not_there_costs_one_sentence_too(tmp_path: Path) -> None:
    arguments = ("layer_importance", "--address", "127.0.0.1:1", "--store", str(tmp_path))
    assert "No Ray cluster can be reached" in refused_in_a_process(*arguments)


def test_a_second_sweep_on_the_same_store_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path).create().owned("another sweep"):
        assert "another sweep runs on" in refused("layer_importance", *SMALL, "--store", str(tmp_path))


def mlflow_runs(store: Path) -> tuple[Run, list[Run]]:
    client = MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("mindgap")
    runs = list(client.search_runs([experiment.experiment_id], "tags.study = 'layer_importance'", max_results=1000))
    (parent,) = [run for run in runs if run.data.tags["role"] == "study"]
    return parent, [run for run in runs if run.data.tags["role"] == "trial"]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", "-m", "orchestrator.sweep", *DASHBOARD, *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def read_until(moment: str, process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    output = ""
    for line in process.stdout:
        output += line
        if re.search(moment, line):
            return output
    raise AssertionError(f"{moment!r} never came:\n{output}\n{process.stderr and process.stderr.read()}")


def run_until(moment: str, arguments: list[str], how: signal.Signals) -> list[tuple[str, int]]:
    process = start(arguments)
    output = read_until(moment, process)
    os.killpg(process.pid, how)
    process.communicate()
    time.sleep(5)  # Ray's processes notice within seconds that their driver is gone.
    return reported_epochs(output)


def reported_epochs(output: str) -> list[tuple[str, int]]:
    """(work, epoch) of every epoch reported."""
    return [(title, int(epoch)) for title, epoch in re.findall(r"%  (.+): epoch (\d+) of", output)]

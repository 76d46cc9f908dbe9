"""The benchmarks measure what they say; how fast anything is, is not tested."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from benchmarks import generate, profile, train_step
from benchmarks.faults.__main__ import is_kept, markdown
from benchmarks.faults.display import Display
from benchmarks.faults.study import Attempt, Row, Study
from benchmarks.tables import with_tables
from datagen.datasets.spec import GeneratedDataset
from datagen.recipes.load import load_recipe, make_spec
from orchestrator.planning.catalog import load_scale, load_study
from orchestrator.storage.store import Store
from tests.conftest import ROOT
from trainables.direction import SYNTHETIC_TO_REAL
from trainables.input.data import load_images
from trainables.timers import PARTS


def row(epoch: int, seconds: float) -> dict[str, float]:
    parts = {f"seconds_{part}": seconds / 10 for part in PARTS}
    return {"epoch": epoch, "top1": 50.0, "train_loss": 1.0, "seconds": seconds, **parts}


def test_the_profile_of_a_study_adds_up_its_finished_trainings(tmp_path: Path) -> None:
    store, scale = Store(tmp_path).create(), load_scale("pocket")
    trials = [trial.spec for trial in load_study("layer_importance").trials(scale, 1)]
    real = [trial for trial in trials if str(trial.direction) == "real"]
    transfers = [trial for trial in trials if trial.direction == SYNTHETIC_TO_REAL][:2]
    for trial in (*real, *transfers):
        store.publish_model(trial, [row(1, 20.0), row(2, 30.0)], None, lambda path: path.write_bytes(b"weights"))
    done = CliRunner().invoke(profile.main, ["layer_importance", "--store", str(tmp_path)], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    lines = {line.split()[0]: line.split()[1:] for line in done.output.splitlines() if line.split()}
    # 50 seconds each; 8 parts of a tenth, and what lies between them. The time of checkpoints is not in `seconds`.
    assert lines["real"] == ["1", *["5.0"] * 8, "15.0", "55.0"]
    assert lines["synthetic->real"] == ["2", *["10.0"] * 8, "30.0", "110.0"]
    assert lines["all"] == ["3", *["15.0"] * 8, "45.0", "165.0"]


def test_a_store_without_times_is_said_to_have_none(tmp_path: Path) -> None:
    Store(tmp_path).create()
    done = CliRunner().invoke(profile.main, ["layer_importance", "--store", str(tmp_path)])
    assert done.exit_code == 2
    assert "has no training of layer_importance with times" in done.output


@pytest.mark.parametrize("way", ["mindgap", "plain", "timm"])
def test_every_way_to_train_trains_an_epoch(way: str, image_folders: Path) -> None:
    folder = image_folders / "train"
    spec = train_step.base_spec(folder, model="resnet50_slim", image_size=32, batch_size=16)
    bench = train_step.Bench(folder, load_images(folder), spec, torch.device("cpu"), 0)
    assert bench.samples == 48
    assert bench.way(way, train_step.Setting("tiny", {"batch_size": 24}))() > 0


def test_rates_are_compared_with_mindgaps(image_folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = image_folders / "train"
    seconds = {"mindgap": iter([9.0, 1.0, 2.0, 4.0]), "plain": iter([9.0, 2.0, 4.0, 8.0])}
    monkeypatch.setattr(train_step.Bench, "way", lambda self, name, setting: lambda: next(seconds[name]))
    spec = train_step.base_spec(folder, model="resnet50_slim", batch_size=16)
    bench = train_step.Bench(folder, load_images(folder), spec, torch.device("cpu"), 0)
    rates = train_step.measured(bench, train_step.Setting("tiny", {}, ("mindgap", "plain")), 3)
    assert rates["mindgap"] == {"min": 12, "median": 24, "max": 48, "ratio": 1}
    assert rates["plain"]["ratio"] == 0.5
    table = train_step.markdown({"device": "CPU"}, {"tiny": rates}, {"32 px": {"none": rates["plain"]}})
    assert "| tiny | (b) plain torch loop, same network, views and images | 6.0 | 12.0 | 24.0 | 0.50x |" in table


def test_the_pictures_of_the_full_size_stay_encoded(tmp_path: Path) -> None:
    train_step.write_pictures(tmp_path, 3)
    images = load_images(tmp_path)
    assert not isinstance(images.images, torch.Tensor)
    assert [tuple(image.shape) for image in images.images[torch.arange(2)]] == [(3, 360, 480), (3, 361, 481)]


def test_a_benchmarks_tables_replace_the_last_runs_between_their_markers() -> None:
    readme = "before\n<!-- augmentations -->\nold\n<!-- end of augmentations -->\nafter\n"
    assert with_tables(readme, "augmentations", "round 1 of 5\n\n| a | b |\n") == (
        "before\n<!-- augmentations -->\n| a | b |\n<!-- end of augmentations -->\nafter\n"
    )
    with pytest.raises(ValueError, match="no markers for input"):
        with_tables(readme, "input", "")


def test_the_readme_has_a_place_for_every_table_that_make_writes() -> None:
    root = ROOT
    names = " ".join(re.findall(r"benchmarks\.tables (.*)", (root / "Makefile").read_text())).split()
    assert {"augmentations", "faults"} <= set(names)
    for name in names:
        with_tables((root / "benchmarks/README.md").read_text(), name, "")


class InThisProcess:
    """A `generate.Worker` without a process."""

    def __init__(self, way: str, spec: GeneratedDataset, folder: Path, device: str) -> None:
        folder.mkdir(parents=True)
        self.send = (generate.plain_loop if way == "plain loop" else generate.shard_generator)(
            spec, folder, device, way
        )

    def wait(self) -> tuple[float, float]:
        return 1.0, 1.0

    def stop(self) -> None:
        pass


def test_the_ladder_of_drawing_on_a_gpu_ends_with_what_changes_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(load_recipe("pocket"))
    assert isinstance(spec, GeneratedDataset)
    ways = generate.ladder(spec)
    changed = [name for name, of_way in ways.items() if of_way.fingerprint != spec.fingerprint]
    assert changed == [name for name in ways if name.startswith("changed images")] == list(ways)[-3:]
    monkeypatch.setattr(generate, "Worker", InThisProcess)
    rows = generate.measure_gpu((8,), 1, 2, "float8, contiguous", tmp_path, device="cpu", tiny=True)
    assert [row["way"] for row in rows] == ["plain loop", "mindgap, contiguous", "changed images: float8 weights"]
    assert rows[1]["images_at_once"] == 8 and rows[1]["seconds_per_image"]["median"] == 1 / 16
    assert "| mindgap, contiguous | 8 | 0.0625" in generate.table(rows)
    assert len(list((tmp_path / "plain loop 8").iterdir())) == 16


INTERRUPTED = """
  0:03   0%  real s0: started
  0:03   0%  generate 160 synthetic images: started
  0:21  31%  real s0: epoch 1 of 2, top-1 65.5
  0:22  40%  real s0: epoch 2 of 2, top-1 70.9
  0:22  42%  real->synthetic N=9,17 s0: started
  0:23  44%  real->synthetic N=9,17 s0: epoch 1 of 2, top-1 22.7 to 58.9
"""


def attempt(text: str, code: int) -> Attempt:
    return Attempt(text.splitlines(), code, 1.0)


def test_an_epoch_of_a_cohort_is_one_of_each_of_its_trials() -> None:
    assert attempt(INTERRUPTED, -9).epochs == [
        *(("real s0", 1), ("real s0", 2)),
        *(("real->synthetic N=9 s0", 1), ("real->synthetic N=17 s0", 1)),
    ]


@pytest.mark.parametrize(
    ("more", "code", "lost"),
    [
        ("", -9, 1),  # Images are no epochs.
        ("  0:24  50%  real->synthetic N=9,17 s0: epoch 2 of 2, top-1 22.7 to 58.9", -9, 0),
        ("real->synthetic N=9,17 s0: its process died; it goes on in 2 s.", 0, 1),
        ("Stopping when\n  0:24  50%  real->synthetic N=9,17 s0: epoch 1 of 2, top-1 22.7", 130, 0),
        ("Stopping when", 130, 1),
    ],
)
def test_an_epoch_is_lost_if_its_process_ended_before_it_was_reported(more: str, code: int, lost: int) -> None:
    assert attempt(INTERRUPTED + more, code).epochs_cut == lost


def test_what_a_fault_repeats_or_changes_is_counted_and_told(tmp_path: Path) -> None:
    study = Study("killed", tmp_path, tmp_path, Display())
    study.attempts = [attempt(INTERRUPTED, -9), attempt(INTERRUPTED, 0)]
    row = study.row("sweep killed", 1, b"expected")
    assert (row.epochs_repeated, row.epochs_cut, row.equal) == (4, 1, False)
    assert row.wrong == "a trial repeated 2 epochs; the tables differ"
    whole = Row("sweep killed", 1, [-9, 0], 0, 0, 1, True, 20.0)
    assert [is_kept(each) for each in (whole, row, replace(whole, trials_repeated=1))] == [True, False, False]
    assert "| sweep killed | 2 | 4 | 0 | 4 | 2 | 1 of 2 | a trial repeated 2 epochs; the tables differ |" in markdown(
        [row, whole]
    )

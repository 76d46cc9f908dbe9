"""What a training takes of its machine."""

from __future__ import annotations

import sys
import types

import pytest

from orchestrator.execution.usage import Meter, add_up, with_usage
from orchestrator.storage.store import Store
from trainables.report import EpochReport

REPORT = EpochReport(1, 2, {"a": {"top1": 1.0, "seconds": 3.0}, "b": {"top1": 2.0, "seconds": 1.0}})
USED = {"cpu_seconds": 8.0, "gpu_seconds": 4.0, "energy_wh": 2.0, "gpu_watts": 250.0, "memory_bytes": 1e9}


def test_a_cohorts_use_is_shared_by_time_and_adds_up() -> None:
    sums: dict[str, dict[str, float]] = {}
    add_up(sums, REPORT, USED)
    add_up(sums, REPORT, {**USED, "memory_bytes": 5e8})
    assert sums["a"] == {"cpu_seconds": 12.0, "gpu_seconds": 6.0, "energy_wh": 3.0, "peak_memory_bytes": 1e9}
    assert sums["a"]["energy_wh"] + sums["b"]["energy_wh"] == 4.0


def test_mlflow_gets_it_as_system_metrics_and_the_reports_rows_stay_as_they_are() -> None:
    told = with_usage(REPORT, USED).trials["a"]
    assert told["system/gpu_power_usage_watts"] == 250.0
    assert told["system/energy_wh"] == 1.5
    assert told["top1"] == 1.0
    assert REPORT.trials["a"] == {"top1": 1.0, "seconds": 3.0}


def test_the_processor_time_of_this_process_is_measured() -> None:
    meter = Meter()
    total = 0
    while (used := meter.take())["cpu_seconds"] == 0:
        total += sum(range(100_000))
    meter.close()
    assert used["memory_bytes"] > 1e6
    assert "gpu_seconds" not in used


def test_a_gpu_tells_its_energy_in_joules(monkeypatch: pytest.MonkeyPatch) -> None:
    joules = iter([0.0, 7200.0])
    library = types.SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: 1000 * next(joules),
        nvmlDeviceGetUtilizationRates=lambda handle: types.SimpleNamespace(gpu=90),
        nvmlDeviceGetMemoryInfo=lambda handle: types.SimpleNamespace(used=2**30),
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    meter = Meter(gpu=0, share=0.5)
    used = meter.take()
    meter.close()
    assert used["energy_wh"] == 1.0  # 7200 J are 2 Wh, of which half is this process's.
    assert used["gpu_seconds"] > 0


def test_without_nvidias_library_there_is_gpu_time_but_no_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    meter = Meter(gpu=0)
    used = meter.take()
    meter.close()
    assert "gpu_seconds" in used
    assert "energy_wh" not in used


def test_what_was_used_before_a_restart_counts_also_for_a_half_of_the_cohort(tmp_path: object) -> None:
    store = Store(tmp_path).create()  # type: ignore[arg-type]
    store.write_usage("cohort", "whole", {"a": {"cpu_seconds": 5.0}, "b": {"cpu_seconds": 1.0}})
    store.write_usage("cohort", "half", {"a": {"cpu_seconds": 7.0}})
    assert store.read_usage("cohort", ["a", "b", "c"]) == {"a": {"cpu_seconds": 7.0}, "b": {"cpu_seconds": 1.0}}

"""What a training takes of its machine: processor time, memory, and the GPU's time and energy.

Measured by the process that trains. `psutil` tells of the process, NVIDIA's management library of its GPU where there
is one. A cohort's use is shared among its trials by their part of the epoch's time.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import psutil

from trainables.report import EpochReport

SAMPLE_SECONDS = 1.0
TOTALS = ("cpu_seconds", "gpu_seconds", "energy_wh")
"""What adds up over epochs, trials and workers; the rest are means and peaks."""
SHOWN = {
    "cpu_percent": "system/cpu_utilization_percentage",
    "memory_bytes": "system/memory_bytes",
    "gpu_percent": "system/gpu_utilization_percentage",
    "gpu_memory_bytes": "system/gpu_memory_bytes",
    "gpu_watts": "system/gpu_power_usage_watts",
}
"""MLflow shows what is called system/... among its system metrics."""
MEASURED = (*TOTALS, *SHOWN)
"""All that `Meter.take` may give."""


class Meter:
    """Measures this process from now on; `take` gives what was used since the last call.

    Args:
        gpu: the GPU's index among those that CUDA_VISIBLE_DEVICES shows, or None without one.
        share: the part of the GPU that is this process's, 0..1.
    """

    def __init__(self, gpu: int | None = None, share: float = 1.0) -> None:
        self._process, self._share = psutil.Process(), share
        self._gpu = _Gpu.find(gpu) if gpu is not None else None
        self._has_gpu = gpu is not None
        self._peaks: dict[str, float] = {}
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._last = self._read()
        self._thread = threading.Thread(target=self._watch, name="usage", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the measuring."""
        self._stop.set()

    def take(self) -> dict[str, float]:
        """Seconds of CPU and GPU, watt-hours of the GPU if it tells, and means and peaks since the last call."""
        now, before = self._read(), self._last
        self._last = now
        wall = max(now["time"] - before["time"], 1e-6)
        cpu = now["cpu"] - before["cpu"]
        used = {"cpu_seconds": cpu, "cpu_percent": 100 * cpu / wall}
        if self._has_gpu:
            used["gpu_seconds"] = wall * self._share
        if "joules" in now and "joules" in before:
            joules = now["joules"] - before["joules"]
            used |= {"energy_wh": joules / 3600 * self._share, "gpu_watts": joules / wall}
        with self._lock:
            peaks, self._peaks = self._peaks, {}
        return used | {"memory_bytes": float(self._process.memory_info().rss)} | peaks

    def _read(self) -> dict[str, float]:
        times = self._process.cpu_times()
        values = {"time": time.monotonic(), "cpu": times.user + times.system}
        return values | (self._gpu.energy() if self._gpu else {})

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            try:
                sample = {"memory_bytes": float(self._process.memory_info().rss)}
            except psutil.Error:
                return
            sample |= self._gpu.sample() if self._gpu else {}
            with self._lock:
                self._peaks = {key: max(value, self._peaks.get(key, 0.0)) for key, value in sample.items()}


class _Gpu:
    """One GPU through NVML; any value that it does not tell is left out."""

    def __init__(self, library: Any, handle: Any) -> None:
        self._library, self._handle = library, handle

    @classmethod
    def find(cls, index: int) -> _Gpu | None:
        try:
            import pynvml  # type: ignore[import-not-found,import-untyped,unused-ignore]

            pynvml.nvmlInit()
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            name = visible.split(",")[index].strip() if visible else str(index)
            if name.isdigit():
                return cls(pynvml, pynvml.nvmlDeviceGetHandleByIndex(int(name)))
            return cls(pynvml, pynvml.nvmlDeviceGetHandleByUUID(name))
        except Exception:  # Without the library, the driver or the right there are no such values.
            return None

    def energy(self) -> dict[str, float]:
        """Joules since the driver was loaded."""
        return self._ask("joules", lambda: self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1000)

    def sample(self) -> dict[str, float]:
        """Use in percent, and memory in bytes."""
        return self._ask(
            "gpu_percent", lambda: float(self._library.nvmlDeviceGetUtilizationRates(self._handle).gpu)
        ) | self._ask("gpu_memory_bytes", lambda: float(self._library.nvmlDeviceGetMemoryInfo(self._handle).used))

    def _ask(self, name: str, question: Any) -> dict[str, float]:
        try:
            return {name: question()}
        except self._library.NVMLError:
            return {}


def with_usage(report: EpochReport, used: Mapping[str, float]) -> EpochReport:
    """The report with the epoch's use in each trial's row, for MLflow: `system/...`, and the trial's part of totals."""
    shares = shares_of(report)
    shown = {SHOWN[key]: value for key, value in used.items() if key in SHOWN}
    totals = {key: used[key] for key in TOTALS if key in used}
    trials = {
        fingerprint: row | shown | {f"system/{key}": value * shares[fingerprint] for key, value in totals.items()}
        for fingerprint, row in report.trials.items()
    }
    return replace(report, trials=trials)


def add_up(sums: dict[str, dict[str, float]], report: EpochReport, used: Mapping[str, float]) -> None:
    """Adds an epoch's use to each trial's sums by its part; memory is the peak."""
    for fingerprint, share in shares_of(report).items():
        own = sums.setdefault(fingerprint, {})
        for key in TOTALS:
            if key in used:
                own[key] = own.get(key, 0.0) + used[key] * share
        for key in ("memory_bytes", "gpu_memory_bytes"):
            if key in used:
                own[f"peak_{key}"] = max(own.get(f"peak_{key}", 0.0), used[key])


def shares_of(report: EpochReport) -> dict[str, float]:
    """Each trial's part of the epoch, adding up to 1: by its `seconds`, or alike where none are told."""
    seconds = {fingerprint: max(0.0, row.get("seconds", 0.0)) for fingerprint, row in report.trials.items()}
    total = sum(seconds.values())
    return {name: value / total if total else 1 / len(seconds) for name, value in seconds.items()}

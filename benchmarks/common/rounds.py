"""Several ways to do the same, in turns, so that what the machine does meanwhile falls on all of them."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def rates(ways: dict[str, Callable[[], int]], rounds: int) -> dict[str, list[float]]:
    """Samples per second of each way and round; a way does its work once and says how many samples it was.

    Each way runs once before, uncounted: processes are started then, and caches are filled.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    for current in range(rounds + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            samples = way()
            if current:
                found[name].append(samples / (time.perf_counter() - started))
    return found


def summary(found: dict[str, list[float]], first: str) -> dict[str, dict[str, Any]]:
    """Minimum, median and maximum of each way, and how many times faster `first` is, by medians."""
    medians = {name: statistics.median(values) for name, values in found.items()}
    return {
        name: {"rates": values, "min": min(values), "median": medians[name], "max": max(values)}
        | {"ratio": medians[first] / medians[name]}
        for name, values in found.items()
    }


def write(out: Path, cores: int, packages: tuple[str, ...], settings: dict[str, Any], results: dict[str, Any]) -> None:
    """Writes results with the machine and the versions they were measured with."""
    about = {
        "machine": processor(),
        "cores": cores,
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        **settings,
    }
    out.write_text(json.dumps({**about, "results": results}, indent=2) + "\n", encoding="utf-8")
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    click.echo(f"\n{about['machine']}, {cores} cores used, Python {about['python']}, {versions}")


def table(title: str, unit: str, results: dict[str, dict[str, Any]], names: dict[str, str]) -> str:
    """A Markdown table."""
    lines = [f"\n| {title} | {unit}: min | median | max | mindgap is |", "|---|---|---|---|---|"]
    for name, result in results.items():
        numbers = " | ".join(f"{result[key]:.0f}" for key in ("min", "median", "max"))
        lines.append(f"| {names[name]} | {numbers} | {result['ratio']:.2f}x |")
    return "\n".join(lines)


def use_cores(cores: int) -> None:
    """Confines this process, and those it starts, to so many cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def processor() -> str:
    """The processor's name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()

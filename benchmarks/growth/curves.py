"""How time and memory grow with trials, images, classes, workers and branches: python -m benchmarks.growth [--tiny].

One axis at a time, about five sizes each, every size in a fresh process: the shortest of a few repetitions, and the
most memory the process held after the first. Both laws of `laws.py` are fitted to the larger sizes; the better is drawn
and used to tell where growth stops, which is an extrapolation.

Writes `benchmarks/results/growth.json`, a plot for each axis to `benchmarks/results/growth/`, and prints a table in
Markdown. Progress goes to the standard error. Takes under 8 minutes on two cores.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import click
import psutil

from benchmarks.common.rounds import write
from benchmarks.growth.laws import Law, laws
from benchmarks.growth.points import POINTS, TRIALS_A_SEED, peak_megabytes

HERE = Path(__file__).parents[1] / "results"
REPETITIONS = 3
ENOUGH = 5.0
"""Seconds after which a size is not repeated again: what is this long varies little."""
CORES = os.cpu_count() or 1
MINUTE, HOUR = 60.0, 3600.0


@dataclass(frozen=True)
class Series:
    """One curve of an axis.

    Attributes:
        point: the function of `points.POINTS`.
        label: what is done, for readers.
        sizes: to measure.
        tiny: to try the code with.
        seconds: how long is too long, for where growth stops.
        memory: whose bytes end, "this machine" (its memory) or "disk".
        fitted_up_to: the largest size that the law of time is fitted to; more cores than there are add nothing.
        last: the largest size there is, and why.
    """

    point: str
    label: str
    sizes: tuple[int, ...]
    tiny: tuple[int, ...]
    seconds: float = HOUR
    memory: str = "this machine"
    fitted_up_to: int | None = None
    last: tuple[int, str] | None = None


@dataclass(frozen=True)
class Axis:
    """What grows, the unit of its sizes, and its curves."""

    name: str
    unit: str
    series: tuple[Series, ...]


_BY_SEED = tuple(TRIALS_A_SEED * seeds for seeds in (10, 20, 40, 80, 160))
_WORKERS: dict[str, Any] = {"tiny": (1, 2), "fitted_up_to": CORES}
AXES = (
    Axis(
        "trials",
        "trials of layer importance",
        (
            Series("plan", "plan, nothing made yet", _BY_SEED, (36, 72), MINUTE),
            Series("report", "report over finished trials", _BY_SEED, (36, 72), 10 * MINUTE),
        ),
    ),
    Axis(
        "images",
        "images of 32 px",
        (
            Series("load", "loading (MB: shared)", (1000, 4000, 16000, 64000), (64, 128), 10 * MINUTE, "disk"),
            Series("epoch", "epoch of the slim ResNet-50", (1024, 2048, 4096, 8192, 16384), (128, 256)),
        ),
    ),
    Axis(
        "classes",
        "classes",
        (
            Series(
                "prompts",
                "prompts and fingerprint of a set",
                (10, 100, 1000, 5000, 20000),
                (2, 4),
                MINUTE,
                last=(21844, "all nouns with a definition"),
            ),
            Series("sampler", "a balanced half of 100 images a class", (100, 200, 500, 1000, 2000), (2, 4), MINUTE),
            Series("head", "epoch of the head, 2,048 images", (10, 100, 1000, 4000, 16000), (2, 4)),
        ),
    ),
    Axis(
        "workers",
        "processes, one thread each",
        (
            Series("replicas", "data-parallel epoch, 2,048 images", (1, 2, 4), **_WORKERS),
            Series("actors", "drawing 384 images", (1, 2, 4), **_WORKERS),
        ),
    ),
    Axis(
        "branches",
        "branches of a cohort",
        (
            Series(
                "branches",
                "epoch of a cohort, 2,048 images",
                (1, 2, 4, 8, 17),
                (1, 2),
                last=(17, "a branch for every cut of ResNet-50"),
            ),
        ),
    ),
)


@dataclass(frozen=True)
class Measured:
    """A curve: seconds, megabytes and open files at each size."""

    series: Series
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    megabytes: tuple[float, ...]
    files: tuple[float, ...]

    def time_laws(self) -> tuple[Law, Law]:
        """The laws of time, the better first."""
        most = self.series.fitted_up_to or self.sizes[-1]
        few = max(2, sum(size <= most for size in self.sizes))
        return laws(self.sizes[:few], self.seconds[:few])

    def memory_laws(self) -> tuple[Law, Law]:
        """The laws of memory, the better first."""
        return laws(self.sizes, self.megabytes)


def run_point(point: str, size: int, folder: Path, repetitions: int) -> dict[str, float]:
    """Measures one size in this process."""
    best, spent = dict[str, float](), 0.0
    with POINTS[point](size, folder) as once:
        for turn in range(repetitions):
            began = time.perf_counter()
            told = once()
            seconds = time.perf_counter() - began
            if turn == 0:
                files = float(psutil.Process().num_fds())
                best = {"seconds": seconds, "megabytes": peak_megabytes(), "files": files, **told}
            best["seconds"] = min(best["seconds"], seconds)
            spent += seconds
            if spent > ENOUGH:
                break
    return best


def fresh_process(point: str, size: int, folder: Path, repetitions: int) -> dict[str, float]:
    """Measures one size in a process of its own.

    Raises:
        ChildProcessError: it failed; its traceback is on the standard error.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, point, size, folder, repetitions))
    process.start()
    theirs.close()
    try:
        found: dict[str, float] = ours.recv()
    except EOFError:
        raise ChildProcessError(f"{point} of {size} failed") from None
    finally:
        process.join()
    return found


def _serve(pipe: Connection, point: str, size: int, folder: Path, repetitions: int) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    pipe.send(run_point(point, size, folder, repetitions))


def measure(series: Series, tiny: bool, folder: Path, way: Any = fresh_process) -> Measured:
    """All sizes of a curve."""
    sizes, rows = (series.tiny if tiny else series.sizes), []
    for size in sizes:
        began = time.perf_counter()
        rows.append(way(series.point, size, folder, 1 if tiny else REPETITIONS))
        seconds, megabytes = rows[-1]["seconds"], rows[-1]["megabytes"]
        took = time.perf_counter() - began
        click.echo(f"... {series.point} {size}: {seconds:.4g} s, {megabytes:.0f} MB (took {took:.0f} s)", err=True)
    columns = ([row[key] for row in rows] for key in ("seconds", "megabytes", "files"))
    return Measured(series, sizes, *(tuple(column) for column in columns))


def where_it_stops(measured: Measured) -> str:
    """What ends growth first by the fitted laws, and at which size: an extrapolation, and no promise."""
    series = measured.series
    limits = _limits()
    time_law, memory_law = measured.time_laws()[0], measured.memory_laws()[0]
    reached = {
        f"{_duration(series.seconds)} of time": time_law.reaches(series.seconds),
        f"{series.memory}: {limits[series.memory] / 1e3:.0f} GB": memory_law.reaches(limits[series.memory]),
        f"{limits['files']:.0f} open files": laws(measured.sizes, measured.files)[0].reaches(limits["files"]),
    }
    known = {reason: size for reason, size in reached.items() if size is not None and size > 0}
    if series.fitted_up_to is not None:
        return f"cores: {series.fitted_up_to} here"
    if not known:
        return "nothing seen"
    reason, size = min(known.items(), key=lambda item: item[1])
    if series.last is not None and size > series.last[0]:
        return f"not reached: {series.last[0]:,} are {series.last[1]}"
    return f"about {float(f'{size:.2g}'):,.0f} (extrapolated; {reason})"


def _limits() -> dict[str, float]:
    """Megabytes of this machine's memory and of the disk that sets are mapped from, and open files of a process."""
    free = psutil.disk_usage(tempfile.gettempdir()).free
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return {"this machine": psutil.virtual_memory().total / 1e6, "disk": free / 1e6, "files": float(files)}


def _duration(seconds: float) -> str:
    return f"{seconds / HOUR:.0f} h" if seconds >= HOUR else f"{seconds / MINUTE:.0f} min"


def table(results: Mapping[str, Sequence[Measured]], plots: Mapping[str, str]) -> str:
    """A plot and a row for each curve, in Markdown; of each law the better, and in brackets the other one."""
    lines = []
    for axis in AXES:
        if axis.name not in results:
            continue
        lines += ["", f"![time and memory against {axis.unit}]({plots[axis.name]})", ""]
        lines += [f"| {axis.name} | sizes | seconds | MB | law of time | law of memory | stops at |"]
        lines += ["|---|---|---|---|---|---|---|"]
        lines += [_row(measured) for measured in results[axis.name]]
    return "\n".join(lines)


def _row(measured: Measured) -> str:
    cells = [measured.series.label, _span(measured.sizes), _span(measured.seconds), _span(measured.megabytes)]
    cells += [_both(measured.time_laws(), "s"), _both(measured.memory_laws(), "MB"), where_it_stops(measured)]
    return f"| {' | '.join(cells)} |"


def _both(fitted: tuple[Law, Law], unit: str) -> str:
    best, other = (f"{law.formula(unit)} (± {100 * law.residual:.1f} %)" for law in fitted)
    exact = f", {fitted[0].points} sizes" if fitted[0].points < 3 else ""
    return f"{best}; else {other}{exact}"


def _span(values: Sequence[float]) -> str:
    return f"{_number(values[0])} to {_number(values[-1])}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def draw(axis: Axis, results: Sequence[Measured], path: Path) -> None:
    """A plot of two panels, seconds and megabytes, with the fitted laws as lines."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    for panel, unit in zip(figure.subplots(1, 2), ("s", "MB"), strict=True):
        for position, measured in enumerate(results):
            values = measured.seconds if unit == "s" else measured.megabytes
            law = (measured.time_laws() if unit == "s" else measured.memory_laws())[0]
            panel.plot(measured.sizes, values, "o", color=f"C{position}")
            drawn = np.geomspace(measured.sizes[0], measured.sizes[-1], 50)
            expected = [law.at(size) if law.at(size) > 0 else np.nan for size in drawn]
            label = f"{measured.series.label}:\n{law.formula(unit)}"
            panel.plot(drawn, expected, "-", color=f"C{position}", linewidth=1, label=label)
        panel.set(xscale="log", yscale="log", xlabel=axis.unit, ylabel="seconds" if unit == "s" else "MB")
        sizes = max((measured.sizes for measured in results), key=len)
        panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
        panel.set_xticks([], minor=True)
        panel.grid(True, which="major", linewidth=0.4)
        panel.legend(fontsize=7, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


@click.command()
@click.option("--tiny", is_flag=True, help="Two small sizes of each, once: tries the code.")
@click.option("--axis", "names", multiple=True, type=click.Choice([axis.name for axis in AXES]), help="Only these.")
@click.option("--out", type=click.Path(path_type=Path), default=HERE, help="Folder of growth.json and growth/.")
def main(tiny: bool, names: tuple[str, ...], out: Path) -> None:
    """Measures all axes, draws them and prints the table."""
    results = {}
    with tempfile.TemporaryDirectory(prefix="mindgap-growth-") as folder:
        for axis in AXES:
            if not names or axis.name in names:
                results[axis.name] = [measure(series, tiny, Path(folder)) for series in axis.series]
                draw(axis, results[axis.name], out / "growth" / f"{axis.name}.png")
    figures = {name: {measured.series.point: _plain(measured) for measured in found} for name, found in results.items()}
    write(out / "growth.json", CORES, ("torch", "numpy", "pyarrow"), {"tiny": tiny}, figures)
    click.echo(table(results, {name: f"results/growth/{name}.png" for name in results}))


def _plain(measured: Measured) -> dict[str, Any]:
    return {
        "sizes": measured.sizes,
        "seconds": measured.seconds,
        "megabytes": measured.megabytes,
        "open_files": measured.files,
        "laws": {
            quantity: {law.kind: [law.first, law.second, law.residual] for law in fitted}
            for quantity, fitted in (("seconds", measured.time_laws()), ("megabytes", measured.memory_laws()))
        },
        "stops": where_it_stops(measured),
    }

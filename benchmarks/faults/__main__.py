"""Faults injected into a small pocket study: what is lost, what is repeated, and whether the results are the same.

    python -m benchmarks.faults [--kills 20] [--faults driver_killed,worker_killed,...] [--out FILE]

After every fault the same command is given again until it ends well. Results are compared with those of a run that
nothing disturbed, byte for byte: the study's table, and that of its trials but for their seconds. A finished trial
counts as repeated if its artifact was written again, an epoch if it was reported twice; an epoch that was running when
its process ended is lost, and begun again. The table goes to stdout, what happens meanwhile to stderr.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import random
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import click

from benchmarks.common.rounds import processor
from benchmarks.faults import absences, deaths
from benchmarks.faults.display import Display
from benchmarks.faults.study import STUDY, Row
from benchmarks.faults.suite import Suite

FAULTS: dict[str, Callable[[Suite], Iterator[Row]]] = {
    fault.__name__: fault
    for fault in (
        *(deaths.driver_killed, deaths.worker_killed, deaths.node_removed, deaths.ctrl_c_once, deaths.ctrl_c_twice),
        *(absences.disk_full, absences.store_away, absences.sqlite_locked, absences.server_down, absences.job_submit),
    )
}
PACKAGES = ("ray", "torch", "mlflow")


@click.command()
@click.option("--kills", default=20, show_default=True, help="How often the driver is killed.")
@click.option("--faults", "chosen", help=f"Names, separated by commas; by default all: {', '.join(FAULTS)}.")
@click.option("--seed", default=0, show_default=True, help="Of the random moments.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("benchmarks/results/faults.json"), show_default=True
)
@click.option("--keep", type=click.Path(path_type=Path), help="A new folder, where stores and outputs stay.")
def main(kills: int, chosen: str | None, seed: int, out: Path, keep: Path | None) -> None:
    """Injects faults and writes what became of them."""
    wanted = chosen.split(",") if chosen else list(FAULTS)
    if unknown := set(wanted) - set(FAULTS):
        raise click.BadParameter(f"{', '.join(sorted(unknown))}; known: {', '.join(FAULTS)}")
    # A shell's background commands ignore Ctrl-C, and all that they start with them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if keep:
        keep.mkdir(parents=True)
    folder = nullcontext(str(keep.absolute())) if keep else tempfile.TemporaryDirectory(prefix="faults-")
    with folder as root, Display() as display:
        suite = Suite(Path(root), display, kills, random.Random(seed))
        rows = _injected(suite, [FAULTS[name] for name in wanted])
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    about = {
        "machine": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
        "study": " ".join(STUDY),
        "undisturbed_seconds": round(suite.usual_seconds, 1),
        "seconds": round(display.seconds),
    }
    out.write_text(json.dumps({**about, "rows": [asdict(row) for row in rows]}, indent=2) + "\n", encoding="utf-8")
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    python, minutes = platform.python_version(), f"{display.seconds / 60:.0f} minutes in all"
    click.echo(f"{processor()}, {os.cpu_count()} cores, Python {python}, {named}; {minutes}")
    click.echo(f"\n{markdown(rows)}")
    sys.exit(0 if all(is_kept(row) for row in rows if row.codes) else 1)


def _injected(suite: Suite, faults: list[Callable[[Suite], Iterator[Row]]]) -> list[Row]:
    undisturbed = suite.study("undisturbed")
    first = undisturbed.run()
    if first.code:
        raise click.ClickException(f"The undisturbed run ended with {first.code}:\n" + "\n".join(first.lines))
    suite.expected, suite.usual_seconds = undisturbed.results(), first.seconds
    rows = []
    for fault in faults:
        for row in fault(suite):
            rows.append(row)
            verdict = "as promised" if is_kept(row) else f"NOT AS PROMISED {row.wrong}"
            suite.display.result(f"{row.fault}: exit codes {row.codes}, {row.seconds:.0f} s, {verdict} {row.note}")
    return rows


def is_kept(row: Row) -> bool:
    """Whether all that is promised of a fault has come true."""
    return row.equal and not row.trials_repeated and not row.wrong


def markdown(rows: list[Row]) -> str:
    """The table, rows of the same fault added up."""
    lines = [
        "| fault | injected | runs | finished trials repeated | finished epochs repeated | running epochs lost "
        "| tables equal | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for fault in dict.fromkeys(row.fault for row in rows):
        same = [row for row in rows if row.fault == fault]
        injected, repeated = sum(row.injected for row in same), sum(row.trials_repeated for row in same)
        epochs, cut = sum(row.epochs_repeated for row in same), sum(row.epochs_cut for row in same)
        runs, equal = sum(len(row.codes) for row in same), f"{sum(row.equal for row in same)} of {len(same)}"
        notes = "; ".join(dict.fromkeys(text for row in same for text in (row.wrong, row.note) if text))
        lines.append(f"| {fault} | {injected} | {runs} | {repeated} | {epochs} | {cut} | {equal} | {notes} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

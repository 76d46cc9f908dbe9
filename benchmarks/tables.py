"""Puts the tables of the last runs into benchmarks/README.md: python -m benchmarks.tables BENCHMARK ...

Runs each benchmark named, in a process of its own, and puts what it prints after its last blank line of progress, its
Markdown, between the README's markers for it. `make bench` runs those that a laptop does in 20 minutes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click

README = Path(__file__).parent / "README.md"
WITH_FULL = {"train_step": ["--full"]}
"""Options of a benchmark's run for the README."""


@click.command()
@click.argument("names", nargs=-1, required=True)
def main(names: tuple[str, ...]) -> None:
    """Runs the benchmarks NAMES and writes their tables into the README."""
    for name in names:
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", *WITH_FULL.get(name, [])], stdout=subprocess.PIPE, text=True
        )
        click.echo(done.stdout)
        if done.returncode:
            raise SystemExit(done.returncode)
        README.write_text(with_tables(README.read_text(encoding="utf-8"), name, done.stdout), encoding="utf-8")


def with_tables(text: str, name: str, output: str) -> str:
    """The README `text` with a benchmark's printed tables, and the line about the machine, between its markers.

    Raises:
        ValueError: the README has no place for them.
    """
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    if start not in text or end not in text:
        raise ValueError(f"benchmarks/README.md has no markers for {name}")
    lines = [line.rstrip() for line in output.splitlines()]
    kept = "\n".join(line for line in lines if not re.match(r"(round|\.\.\.)", line)).strip()
    before, _, rest = text.partition(start)
    return f"{before}{start}\n{kept}\n{end}{rest.partition(end)[2]}"


if __name__ == "__main__":
    main()

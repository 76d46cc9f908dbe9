"""Other tools' environment changes nothing: notebooks' plotting backends, the user's plotting settings, no home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

IMPORT = "import trainables.loop  # and with it all that draws or trains\n"
DRAW = """
import sys
from pathlib import Path
import pandas as pd
from orchestrator.reporting.figures import Caption, draw
from orchestrator.study import Figure

rows = [("synthetic->real", "synthetic", "grid", depth, 80.0 - depth) for depth in (1, 16, 17)]
points = pd.DataFrame(rows, columns=["direction", "pretrained_on", "role", "frozen_layers", "top1_mean"])
points = points.assign(seeds=1, top1_std_epochs=1.0, top1_low=float("nan"), top1_high=float("nan"))
draw(points, Figure("curves", "frozen_layers"), ["frozen_layers"], Caption("title", "spread"), Path(sys.argv[1]))
"""


def drawn(folder: Path, first: str = "", **environment: str) -> tuple[str, list[bytes]]:
    folder.mkdir()
    command, variables = [sys.executable, "-c", first + DRAW, str(folder)], {"PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(command, cwd=folder, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr, [(folder / f"figure.{ending}").read_bytes() for ending in ("png", "svg")]


def test_figures_and_trainings_are_the_same_in_any_environment(tmp_path: Path) -> None:
    settings = tmp_path / "matplotlibrc"
    settings.write_text("lines.linewidth: 9\nfont.size: 40\nbackend: qtagg\naxes.facecolor: red\nsavefig.dpi: 7\n")
    _, usual = drawn(tmp_path / "usual")
    said, odd = drawn(
        tmp_path / "odd",
        IMPORT,
        MPLBACKEND="module://matplotlib_inline.backend_inline",
        MATPLOTLIBRC=str(settings),
        HOME="/nowhere",
        XDG_CONFIG_HOME="/nowhere",
    )
    assert odd == usual
    assert said == ""

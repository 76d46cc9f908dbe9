"""The figure of `orchestrator.representations`: what layers share, know and tell apart, against depth."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from datagen.core.files import written_whole
from datagen.core.plotting import importable_matplotlib
from orchestrator.reporting.figures import BLUE, ORANGE, STYLE

with importable_matplotlib():
    from matplotlib import style
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

PANELS = (
    ("CKA between the two bases", {"cka_real": "on real images", "cka_synthetic": "on synthetic images"}),
    ("linear probe, top-1 % on real images", {"probe_real": "base on real", "probe_synthetic": "base on synthetic"}),
    ("real or synthetic image? % told", {"shift_real": "base on real", "shift_synthetic": "base on synthetic"}),
    (
        "transfer, top-1 % at N",
        {"top1_synthetic_to_real": "synthetic->real", "top1_real_to_synthetic": "real->synthetic"},
    ),
)


def draw_representations(table: pd.DataFrame, title: str, folder: Path) -> list[Path]:
    """Writes representations.png and .svg: a panel for each measure, and one of the transfers that are at hand.

    `table` has a row for each layer, `layer` from 1, and the columns of `PANELS`.
    """
    panels = [panel for panel in PANELS if table[list(panel[1])].notna().any().any()]
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(5.2 * len(panels), 4.6), layout="constrained")
        figure.suptitle(title)
        for place, (name, lines) in enumerate(panels, 1):
            axes = figure.add_subplot(1, len(panels), place)
            for (column, label), colour, marker in zip(lines.items(), (BLUE, ORANGE), "os", strict=True):
                axes.plot(table["layer"], table[column], color=colour, marker=marker, lw=1.8, label=label)
            axes.set_title(name)
            axes.set_xlabel("layer, counted from the input")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(alpha=0.3)
            axes.legend()
        paths = [folder / "representations.png", folder / "representations.svg"]
        for path in paths:
            with written_whole(path) as aside:
                figure.savefig(
                    aside, format=path.suffix[1:], dpi=150, metadata={} if path.suffix == ".png" else {"Date": None}
                )
    return paths

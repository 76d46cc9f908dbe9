"""The report of a study: the paper's table and figure from what was measured, as files and on the terminal."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from orchestrator.figures import draw_curves
from orchestrator.plan import Plan
from orchestrator.results import LAST_EPOCHS, point_table, trial_table, with_published
from orchestrator.scale import DIRECTIONS, REAL, SYNTHETIC
from orchestrator.store import Store, StoredModel


@dataclass(frozen=True)
class Report:
    """A study's report: its tables, the verdict in words, and the files written (`report.md` first)."""

    trials: pd.DataFrame
    points: pd.DataFrame
    verdict: str
    spread: str
    files: tuple[Path, ...]


def write_report(plan: Plan, store: Store, models: Mapping[str, StoredModel], command: str) -> Report:
    """Writes report.md, table.csv, table.parquet, trials.csv, trials.parquet, figure.png and figure.svg.

    Args:
        plan: the study's plan.
        store: its store; the files go to `studies/<study>/<scale>/`.
        models: the finished trainings.
        command: the command to repeat the study with.
    """
    folder = store.study_folder(plan.study.name, plan.scale.name)
    folder.mkdir(parents=True, exist_ok=True)
    trials = trial_table(plan, models)
    points = with_published(point_table(trials), plan.study.published, plan.scale.published)
    seeds = int(points["seeds"].max()) if len(points) else 0
    spread = (
        f"± standard deviation over {seeds} seeds" if seeds > 1 else f"± over the last {LAST_EPOCHS} epochs of one run"
    )
    verdict = _verdict(points)
    figures = draw_curves(points, plan.study.figure.axis, f"{plan.study.name}, scale {plan.scale.name}", spread, folder)
    tables = []
    for name, table in (("table", points), ("trials", trials)):
        tables += [folder / f"{name}.csv", folder / f"{name}.parquet"]
        table.to_csv(tables[-2], index=False)
        table.to_parquet(tables[-1], index=False)
    page = folder / "report.md"
    page.write_text(_markdown(plan, trials, points, verdict, spread, command))
    return Report(trials, points, verdict, spread, (page, *figures, *tables))


def show_report(report: Report, console: Console) -> None:
    """Prints the table and the verdict."""
    table = Table(title=f"{report.spread}; accuracies in percent", title_justify="left", box=None, pad_edge=False)
    shown = _readable(report.points)
    for column in shown.columns:
        table.add_column(str(column), justify="left" if column in ("trained", "frozen layers") else "right")
    for row in shown.itertuples(index=False):
        table.add_row(*(str(value) for value in row))
    console.print(table)
    console.print(f"\n{report.verdict}", highlight=False)


def _readable(points: pd.DataFrame) -> pd.DataFrame:
    """The paper's table: strings, one row per point."""
    shown = pd.DataFrame()
    shown["trained"] = points["direction"]
    shown["frozen layers"] = [f"1-{n}" if n else "none" for n in points["frozen_layers"]]
    if (points["fraction"] < 1).any():
        shown["share of data"] = [f"1/{round(1 / fraction)}" for fraction in points["fraction"]]
    shown["seeds"] = points["seeds"]
    for column, metric, digits in (("top-1", "top1", 1), ("top-5", "top5", 1), ("train loss", "train_loss", 3)):
        means, stds = points[f"{metric}_mean"], points[f"{metric}_std"]
        shown[column] = [_plus_minus(mean, std, digits) for mean, std in zip(means, stds, strict=True)]
    if "published_top1" in points:
        published = zip(points["published_top1"], points["published_top1_std"], strict=True)
        shown["published top-1"] = [_plus_minus(mean, std, 1) for mean, std in published]
        shown["difference"] = ["" if pd.isna(value) else f"{value:+.1f}" for value in points["difference"]]
    return shown


def _plus_minus(mean: float, std: float, digits: int) -> str:
    return "missing" if pd.isna(mean) else f"{mean:.{digits}f} ± {std:.{digits}f}"


def _verdict(points: pd.DataFrame) -> str:
    """The study's outcome in plain sentences, from the measured numbers alone."""
    top1 = points.set_index(["direction", "frozen_layers"])["top1_mean"]
    sentences = []
    real, synthetic = top1.get((REAL, 0)), top1.get((SYNTHETIC, 0))
    if pd.notna(real) and pd.notna(synthetic):
        sentences.append(
            f"Trained on real images: {real:.1f} % top-1, on synthetic ones: {synthetic:.1f} %, "
            f"a gap of {real - synthetic:.1f} points."
        )
    for direction, baseline in ((DIRECTIONS[1], real), (DIRECTIONS[0], synthetic)):
        curve = top1[direction].dropna() if direction in top1 else pd.Series(dtype=float)
        if len(curve) > 1 and pd.notna(baseline):
            deepest, before = curve.index[-1], curve.index[-2]
            widest = (curve.iloc[:-1] - baseline).abs()
            sentences.append(
                f"{direction}: up to N = {before} top-1 stays within {widest.max():.1f} points of {baseline:.1f} "
                f"(furthest at N = {widest.idxmax()}); at N = {deepest} it is {curve.iloc[-1]:.1f}."
            )
    return " ".join(sentences) or "Too few trials are done for a verdict."


def _markdown(plan: Plan, trials: pd.DataFrame, points: pd.DataFrame, verdict: str, spread: str, command: str) -> str:
    failed = trials[trials["status"] == "failed"]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "ray", "diffusers", "timm"))
    lines = [
        f"# {plan.study.name}, scale {plan.scale.name}",
        "",
        plan.study.question,
        "",
        f"**{verdict}**",
        "",
        "![Top-1 against freeze depth](figure.png)",
        "",
        f"Scale {plan.scale.name}: {plan.scale.summary} Numbers of different scales are not comparable.",
        "",
        _readable(points).to_markdown(index=False, disable_numparse=True),
        "",
        f"Accuracies on real validation images in percent, mean of the last {LAST_EPOCHS} epochs, {spread}.",
        "",
        *(f"Failed: {row.direction} N={row.frozen_layers} s{row.seed}." for row in failed.itertuples()),
        f"Made by `{command}`: {len(trials)} trials, {trials['seconds'].sum() / 60:.1f} minutes of training on all "
        f"workers together. {versions}, Python {platform.python_version()}.",
        "",
    ]
    return "\n".join(lines)

"""Studies from Python, as in a notebook: plan one, run it, and hold its results as a table.

from orchestrator import plan, results, run
planned = plan("layer_importance", "frozen_layers=1,17", "epochs=5", store="results")
run(planned)
table = results(planned)
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen.core.errors import InputError
from datagen.core.terminal import plain_console
from orchestrator.cli.options import Options, make_ready
from orchestrator.cli.overrides import apply_overrides, varied
from orchestrator.planning.calibration import calibrated
from orchestrator.planning.catalog import DEFAULT_SCALE, load, load_scale
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.planning.search import with_searched
from orchestrator.planning.selection import only as selected
from orchestrator.scale import Scale
from orchestrator.storage.store import Store
from orchestrator.study import Study

if TYPE_CHECKING:
    import pandas as pd


def plan(
    study: str | Study,
    *settings: str,
    scale: str | Scale | None = None,
    seeds: int = 1,
    store: str | Path = "store",
    only: str | None = None,
    vary: str | None = None,
) -> Plan:
    """Plans a study; nothing runs and nothing is written.

    Args:
        study: one of your own, or the name or file of one, as on the command line.
        settings: "key=value" each, as on the command line.
        scale: likewise one of your own, a name or a file; None is the study file's own, or pocket.
        seeds: replicates of each trial.
        store: folder of results, or s3://bucket/folder.
        only: selects trials, for example "N >= 14 and seed == 0".
        vary: what the seeds are of: "training", "images" or "both"; None is the study's own.

    Returns:
        the plan: `trials`, `missing()`, `seconds()` and so on.

    Raises:
        InputError: a name, a setting or a value is wrong, or an artifact in the store is damaged.
    """
    if seeds < 1:
        raise InputError(f"seeds must be 1 or more, not {seeds}.")
    chosen, world = apply_overrides(*_loaded(study, scale), settings)
    chosen = varied(chosen, world, vary)
    opened = Store(str(store)).look()
    made = make_plan(chosen, calibrated(world, opened), seeds, opened, overridden=settings)
    return selected(with_searched(made, opened), only)


def run(planned: Plan, *, force: tuple[str, ...] = (), **options: Any) -> int:
    """Runs what is missing of a plan, shows its progress, and writes its report.

    Args:
        planned: what `plan` returned; what has been made since is not made again.
        force: titles or fingerprints of trials to run again.
        options: how to run: `address`, `dashboard`, `gpus_per_worker`, `cpus_per_worker`, `fail_fast`, `repair`, and
            `yes` to fetch what the hub has.

    Returns:
        0 all done; 1 some trials failed, the others finished; 3 Ray has died; 130 interrupted. After 3 and 130 the same
        call goes on.

    Raises:
        InputError: something is missing that only the user can provide, or the store is in use.
    """
    from orchestrator.run_study import run_study

    chosen = Options(store_location=planned.location, force=tuple(force), **options)
    store, console = Store(planned.location), plain_console()
    with store.create().owned("orchestrator.run"):
        ready = make_ready(lambda check: _again(planned, store, check), store, chosen, console)
        return run_study(ready, store, chosen, None, console)


def results(planned: Plan) -> pd.DataFrame:
    """The results of a plan so far: one row for each point and seed, whether it was run or not.

    Columns as in trials.csv: what identifies the point (`direction`, `frozen_layers`, `fraction`, ...), `seed`,
    `top1_mean` and `top1_std_epochs` over the last five epochs in percent, `status` ("done", "failed" or "missing"),
    and more.
    """
    from orchestrator.reporting.tables import finished_models, trial_table

    store = Store(planned.location).look()
    now = _again(planned, store, check=False)
    return trial_table(now, finished_models(now, store))


def _loaded(study: str | Study, scale: str | Scale | None) -> tuple[Study, Scale]:
    if isinstance(study, str):
        chosen, world = load(study, scale if isinstance(scale, str) else None)
        return chosen, scale if isinstance(scale, Scale) else world
    return study, scale if isinstance(scale, Scale) else load_scale(scale or DEFAULT_SCALE)


def _again(planned: Plan, store: Store, check: bool) -> Plan:
    """The same plan against what the store has now."""
    made = make_plan(
        planned.study, replace(planned.scale), planned.seeds, store, check=check, overridden=planned.overridden
    )
    return with_searched(replace(made, selects=planned.selects), store)

"""Running studies: planning, execution on Ray, the store, records in MLflow, and the report.

Here: the commands (`sweep`, `report`), the API for notebooks (`api`), a user's words (`study`, `scale`).
Every folder's own `__init__` says what lives in it and what it may import.
Start reading with `sweep.py`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.api import plan as plan
    from orchestrator.api import results as results
    from orchestrator.api import run as run
    from orchestrator.scale import Scale as Scale
    from orchestrator.study import Figure as Figure
    from orchestrator.study import Study as Study

_HOME = {
    **dict.fromkeys(("Study", "Figure"), "orchestrator.study"),
    "Scale": "orchestrator.scale",
    **dict.fromkeys(("plan", "run", "results"), "orchestrator.api"),
}
__all__ = ["Figure", "Scale", "Study", "plan", "results", "run"]


def __getattr__(name: str) -> Any:
    """Loads what is asked for: a study's file needs neither pandas nor what plans it."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)

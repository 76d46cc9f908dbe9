"""Settings that Ray reads from the environment when it is imported: call `prepare` before the first import of ray."""

from __future__ import annotations

import os


def prepare(address: str | None) -> None:
    """Makes Ray quiet and, unless it joins a cluster at `address`, private to this machine. The user's own values win.

    A cluster started here has every port on 127.0.0.1. Ray does that by itself on macOS and Windows only.
    """
    settings = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_MAX_PENDING_TRIALS_PG": "64",  # processes that start at once; the scheduler says how many wait
        "TUNE_GLOBAL_CHECKPOINT_S": "inf",  # Tune's own record of all trials, which nobody reads
        "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it would stop in the middle of an epoch
        "RAY_AIR_NEW_OUTPUT": "0",  # its tables ignore verbose=0
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # `uv run` would build the environment anew in every worker
        "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",  # the dashboard's page for distributed trainings
    }
    if address is None:
        settings["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        # With its ports closed to other machines Ray needs no token, which it would write to the home folder and ask
        # for in the browser.
        settings["RAY_AUTH_MODE"] = "disabled"
    for name, value in settings.items():
        os.environ.setdefault(name, value)

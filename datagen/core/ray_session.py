"""The one way to Ray: joins the cluster that the user means, or starts one on this machine.

Ray reads settings from the environment when it is imported, so `prepare` comes before the first import of ray;
`start_ray` does both. Every failure is one sentence: Ray itself tries for minutes, warns, and ends in a traceback.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import tempfile
import warnings
from pathlib import Path
from typing import Any

from datagen.core.errors import InputError

ATTEMPTS = 3
"""How often a start on this machine is tried: Ray gives its own processes 30 seconds, too few on a busy machine."""
REACHED_WITHIN = 10.0
"""Seconds that a cluster has to accept a connection."""
_SETTINGS = {
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
_PRIVATE = {
    # Every port on 127.0.0.1, which Ray does by itself on macOS and Windows only.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # With its ports closed to other machines Ray needs no token, which it would write to the home folder and ask for in
    # the browser.
    "RAY_AUTH_MODE": "disabled",
}


def cluster_address(given: str | None) -> str | None:
    """The address of the cluster that the user means: host:port or ray://host:port; None to start one here.

    Args:
        given: by an option; without one the environment's RAY_ADDRESS counts, which `ray job submit` sets. "auto" is
            the cluster that `ray start` has last started or joined on this machine, never a program's own.

    Raises:
        InputError: it is no address, or "auto" and there is no such cluster.
    """
    address = given or os.environ.get("RAY_ADDRESS") or None
    if address in (None, "local"):
        return None
    if address == "auto":
        address = _noted_address()
        if os.environ.get("RAY_ADDRESS") == "auto":
            os.environ["RAY_ADDRESS"] = address  # Else Ray and its workers look for one again, in their own way.
    if not address.removeprefix("ray://").rpartition(":")[2].isdigit():
        raise InputError(f"The Ray address {address!r} is neither auto, host:port nor ray://host:port.")
    return address


def prepare(address: str | None) -> None:
    """Makes Ray quiet and, unless it joins a cluster at `address`, private to this machine. The user's own values win.

    Call it before the first import of ray.
    """
    for name, value in (_SETTINGS | (_PRIVATE if address is None else {})).items():
        os.environ.setdefault(name, value)


def start_ray(given: str | None, *, dashboard: bool = False) -> str:
    """Joins or starts Ray, unless it runs in this process, and returns the dashboard's address, "" if there is none.

    Args:
        given: as `cluster_address` takes it.
        dashboard: whether a cluster that starts here has one, if what it needs is installed.

    Raises:
        InputError: there is no cluster at that address, or none could be started.
    """
    address = cluster_address(given)
    prepare(address)
    import ray

    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
    if ray.is_initialized():
        return ""
    return _joined(address) if address else _started(dashboard and importlib.util.find_spec("aiohttp_cors") is not None)


def _noted_address() -> str:
    try:
        noted = (_temporary_folder() / "ray" / "ray_current_cluster").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        noted = ""
    if not noted:
        raise InputError(
            "No Ray cluster was started on this machine by `ray start`, so auto has none to join. Give its address as "
            "host:port, or leave --address and RAY_ADDRESS out to start one here."
        )
    return noted


def _temporary_folder() -> Path:
    return Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())


def _joined(address: str) -> str:
    import ray

    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACHED_WITHIN).close()
        # Ray takes a loopback address for this machine's own. What listens on the loopback alone is another program's.
        if not address.startswith("ray://") and _is_loopback(host) and not _is_loopback(own := _own_address()):
            socket.create_connection((own, int(port)), timeout=REACHED_WITHIN).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"No Ray cluster can be reached at {address}: {reason}. Check the address.") from error
    try:
        context = ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises plain ones too.
        raise InputError(f"No Ray cluster can be reached at {address}: {_reason(error)}") from error
    return _dashboard(context)


def _started(dashboard: bool) -> str:
    import ray

    for attempt in range(1, ATTEMPTS + 1):
        try:
            # "local": without it Ray would join whatever cluster was last started on this machine.
            context = ray.init(
                address="local", log_to_driver=False, logging_level=logging.ERROR, include_dashboard=dashboard
            )
            return _dashboard(context)
        except Exception as error:  # Ray raises plain ones, for example when its processes take more than 30 seconds.
            ray.shutdown()
            if "AF_UNIX" in str(error):
                name = "RAY_TMPDIR" if os.environ.get("RAY_TMPDIR") else "TMPDIR"
                raise InputError(
                    f"Ray cannot be started: the path of its sockets in {_temporary_folder()} is too long for the "
                    f"system. Set {name} to a folder with a shorter name, for example {name}=/tmp."
                ) from error
            if attempt == ATTEMPTS:
                raise InputError(
                    f"Ray could not be started on this machine in {ATTEMPTS} attempts: {_reason(error)} Give the same "
                    "command again when the machine is less busy, or join a cluster with --address."
                ) from error
    raise AssertionError


def _dashboard(context: Any) -> str:
    shown_at = getattr(context, "dashboard_url", "") or ""
    return f"http://{shown_at}" if shown_at else ""


def _reason(error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return reason if reason.endswith(".") else f"{reason}."


def _is_loopback(host: str) -> bool:
    return host.strip("[]") in ("localhost", "::1") or host.startswith("127.")


def _own_address() -> str:
    """The address by which Ray knows this machine."""
    import ray.util

    return str(ray.util.get_node_ip_address())

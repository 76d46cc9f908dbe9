"""Starts Ray on this machine, or joins a cluster."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from typing import Any

from datagen.core.errors import InputError


def start_ray(address: str | None) -> None:
    """Joins or starts Ray, unless it runs. A cluster started here listens on 127.0.0.1 only, so needs no token."""
    local = {"RAY_AUTH_MODE": "disabled", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"} if address is None else {}
    for variable, value in ({"RAY_USAGE_STATS_ENABLED": "0"} | local).items():
        os.environ.setdefault(variable, value)
    import ray

    if ray.is_initialized():
        return
    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
    options: dict[str, Any] = {} if address else {"include_dashboard": False}
    try:
        if address not in (None, "auto"):  # Ray itself tries for minutes to reach a cluster that is not there
            host, _, port = str(address).removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **options)
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"No Ray cluster can be reached at {address or 'this machine'}: {reason}") from error

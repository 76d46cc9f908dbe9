"""Keeps passwords out of what is printed, logged or stored."""

from __future__ import annotations

import os
import re

_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s'\"]+@")
_VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def redacted(text: str) -> str:
    """The text without user and password in addresses, and without the values of secret environment variables."""
    for name in _VARIABLES:
        if secret := os.environ.get(name):
            text = text.replace(secret, "***")
    return _IN_ADDRESS.sub("***@", text)

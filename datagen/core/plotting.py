"""Lets the plotting library be imported whatever the user's environment says of it.

A notebook tells its children by MPLBACKEND to draw into its cells, through a module that they may not have: then
`import matplotlib` itself fails.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

_VARIABLE = "MPLBACKEND"


@contextmanager
def importable_matplotlib() -> Iterator[None]:
    """Within it, `import matplotlib` succeeds, and says nothing of a home folder that cannot be written."""
    users = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = "agg"
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        yield
    finally:
        if users is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = users

"""What is asked of the tracking store before anything runs, so that no mistake is told after days of training."""

from __future__ import annotations

from orchestrator.tracking.database import check_database
from orchestrator.tracking.server import check_server


def check_records(uri: str) -> str:
    """Asks the tracking store at `uri`, a server or a database, whether it can take records.

    Returns:
        A sentence to show, "" if all is well: an absence is outlasted.

    Raises:
        InputError: it never will; the sentence says what to do.
    """
    return check_server(uri) if uri.startswith(("http://", "https://")) else check_database(uri)

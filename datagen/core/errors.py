"""The exceptions that commands tell in one sentence: mistakes that a user can fix, and work that did not end well."""

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(Exception):
    """A mistake of the user's or of the world around the program: shown as one sentence, exit code 2, no traceback.

    The message says what is wrong and what to do about it.
    """


class UnfinishedError(Exception):
    """Work that could not be finished, what is done is kept: shown as one sentence, exit code 1."""


class ClusterLostError(Exception):
    """Ray has died, or its last machine: exit code 3. What is done is kept.

    Args:
        reason: which, a sentence without its full stop.
    """

    EXIT_CODE = 3

    @property
    def sentence(self) -> str:
        """What to tell the user."""
        return f"{self}. What is done is kept; the same command goes on where this one stopped."


@contextmanager
def said_of(what: str) -> Iterator[None]:
    """Puts before the sentence of an `InputError` what it is about, for example "The study mine, axes"."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{' '.join(what.split())}: {error}") from error.__cause__

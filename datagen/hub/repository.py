"""A repository of the hub at one revision: what it holds, and under which licence. Every refusal is one sentence."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from datagen.core.errors import InputError
from datagen.core.wording import one_line

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_REVISION = re.compile(r"[\w./-]+")
NEWEST = "main"
KINDS = ("model", "dataset")


@dataclass(frozen=True)
class Reference:
    """A repository's name, "OWNER/NAME", and a revision: a branch, a tag or a commit."""

    name: str
    revision: str = NEWEST

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Reads "OWNER/NAME" or "OWNER/NAME@REVISION".

        Raises:
            InputError: it is neither.
        """
        if not is_reference(text):
            raise InputError(f"{text!r} is no name on the hub, which is OWNER/NAME or OWNER/NAME@REVISION.")
        name, _, revision = text.partition("@")
        return cls(name, revision or NEWEST)

    def __str__(self) -> str:
        return self.name if self.revision == NEWEST else f"{self.name}@{self.revision}"


def is_reference(text: str) -> bool:
    """Whether a text may name a repository of the hub."""
    name, at, revision = text.partition("@")
    return bool(_NAME.fullmatch(name)) and (not at or bool(_REVISION.fullmatch(revision)))


@dataclass(frozen=True)
class Repository:
    """What the hub says of a repository.

    Attributes:
        reference: what was asked for.
        kind: one of `KINDS`.
        commit: the revision's, 40 hexadecimal digits.
        licence: as its card has it; "" where it has none.
        files: their sizes in bytes, by path.
    """

    reference: Reference
    kind: str
    commit: str
    licence: str
    files: Mapping[str, int]

    @property
    def page(self) -> str:
        """Where a person reads of it."""
        return _page(self.reference, self.kind)


def look(reference: Reference, kind: str) -> Repository:
    """Asks the hub for a repository.

    Raises:
        InputError: it has none, wants a licence accepted or a login, or cannot be reached.
    """
    from huggingface_hub import HfApi

    with refusals_in_a_sentence(reference, kind):
        found = HfApi(endpoint=endpoint()).repo_info(
            reference.name, revision=reference.revision, repo_type=kind, files_metadata=True
        )
    card = found.card_data.to_dict() if found.card_data else {}
    licence = card.get("license") or ""
    name = card.get("license_name") if licence == "other" else licence
    return Repository(
        reference,
        kind,
        str(found.sha),
        ", ".join(name) if isinstance(name, list) else str(name or licence),
        {item.rfilename: int(item.size or 0) for item in found.siblings or ()},
    )


@contextmanager
def refusals_in_a_sentence(reference: Reference, kind: str) -> Iterator[None]:
    """What the hub, the network or the disk refuses within it becomes an `InputError` that says the way out."""
    try:
        yield
    except (InputError, KeyboardInterrupt):
        raise
    except Exception as error:  # of httpx, huggingface_hub, datasets, fsspec and the disk, by version
        raise InputError(_sentence(error, reference, kind)) from error


def _sentence(error: BaseException, reference: Reference, kind: str) -> str:
    from huggingface_hub import errors

    causes, what = _causes(error), f"the {'data set' if kind == 'dataset' else 'model'} {reference}"
    if any(isinstance(cause, OSError) and cause.errno == errno.ENOSPC for cause in causes):
        return f"The disk is full, so {what} is not whole. Free space; the same command goes on."
    if any(isinstance(cause, errors.OfflineModeIsEnabled) for cause in causes):
        return f"HF_HUB_OFFLINE is set, so {what} cannot be fetched. Unset it, or {_by_hand(reference, kind)}"
    status = next((found for cause in causes if (found := _status(cause))), 0)
    if any(isinstance(cause, errors.GatedRepoError) for cause in causes) or status == 403:
        return (
            f"The hub gives {what} only to who has accepted its licence. Accept it at {_page(reference, kind)}, log in "
            "with `hf auth login` or set HF_TOKEN, and give the same command again."
        )
    if any(isinstance(cause, errors.RevisionNotFoundError) for cause in causes):
        return f"The hub has no revision {reference.revision!r} of {reference.name}. Look: {_page(reference, kind)}"
    if status in (401, 404) or any(isinstance(cause, errors.RepositoryNotFoundError) for cause in causes):
        return (
            f"The hub does not have {what}, or not for you: it was removed or renamed, or asks for a login (`hf auth "
            f"login`, or HF_TOKEN). Look: {_page(reference, kind)}; or give its folder."
        )
    if status == 429:
        return f"The hub asks to wait: too many requests. In some minutes the same command goes on with {what}."
    if status >= 500:
        return f"The hub has failed (HTTP {status}). Later the same command goes on with {what}."
    if any(type(cause).__name__ == "DataFilesNotFoundError" for cause in causes):
        return f"{what[0].upper()}{what[1:]} has no files that `datasets` can read. Import it from a folder."
    return (
        f"{what[0].upper()}{what[1:]} cannot be fetched ({one_line(error)}). Try again, or {_by_hand(reference, kind)}"
    )


def _causes(error: BaseException) -> list[BaseException]:
    """The exception and what it came from."""
    found: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in found:
        found.append(at)
        at = at.__cause__ or at.__context__
    return found


def _status(error: BaseException) -> int:
    response = getattr(error, "response", None)
    return int(getattr(response, "status_code", None) or getattr(error, "status", None) or 0)


def _by_hand(reference: Reference, kind: str) -> str:
    options = " --repo-type dataset" if kind == "dataset" else " --exclude '*.bin' '*.ckpt'"
    folder = reference.name.split("/")[1]
    return (
        f"put it into a folder, on a machine with access: hf download {reference.name}{options} --local-dir {folder}; "
        "then give the folder in place of the name."
    )


def endpoint() -> str:
    """The hub's address; companies' own hubs are named by the variable that huggingface_hub reads, too."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _page(reference: Reference, kind: str) -> str:
    return f"{endpoint()}/{'datasets/' if kind == 'dataset' else ''}{reference.name}"

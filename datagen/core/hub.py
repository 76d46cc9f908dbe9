"""Folders of pipelines and adapters: on the disk, or fetched from the Hugging Face hub once."""

from __future__ import annotations

import re
from pathlib import Path

from datagen.core.errors import InputError

MODELS = Path("models")
"""Where fetched models are kept, in a folder of the model's name: as the recipes expect them."""
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
FETCHED = ("*.json", "*.txt", "*.model", "*.safetensors")
"""Configuration, vocabulary and safe weights; pickled ones are never fetched."""


def local_folder(name: str, *, download: bool = False) -> Path:
    """The folder of a model: `name` itself, or `models/NAME` for the hub's "OWNER/NAME".

    Args:
        name: a folder, or a name on the hub.
        download: whether to fetch a model of the hub that is not there yet.

    Raises:
        InputError: the hub cannot be reached or has no such model.
    """
    folder = Path(name)
    if folder.is_dir() or not _HUB_NAME.fullmatch(name):
        return folder.absolute()
    target = (MODELS / folder.name).absolute()
    if download and not target.is_dir():
        _fetch(name, target)
    return target


def _fetch(name: str, target: Path) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    aside = target.with_name(f".{target.name}.partial")
    try:
        snapshot_download(name, local_dir=aside, allow_patterns=list(FETCHED), ignore_patterns=["safety_checker/*"])
        aside.rename(target)
    except RepositoryNotFoundError:
        raise InputError(
            f"The hub has no model {name}, or it asks for a login. Fetch it by other means and give its folder."
        ) from None
    except Exception as error:  # of requests, httpx, urllib3, huggingface_hub and the disk, by version
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"{name} cannot be fetched from the hub ({reason}). Put the model into a folder, for example on a machine "
            f"with access: hf download {name} --exclude '*.bin' '*.ckpt' --local-dir {target.name}; then give the "
            "folder in place of the name."
        ) from error

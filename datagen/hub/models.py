"""Fetches models into folders: of a diffusion pipeline its parts alone, in one precision, and never a pickle."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rich.console import Console

from datagen.core.errors import InputError
from datagen.core.files import file_sha256, write_json
from datagen.core.wording import listed
from datagen.hub.downloading import Wanted, check_room, grown, shown_download
from datagen.hub.repository import Reference, Repository, endpoint, is_reference, look, refusals_in_a_sentence

MODELS = Path("models")
"""Where fetched models are kept, in a folder of the model's name: as the recipes expect them."""
NOTE = ".fetched.json"
"""In a fetched folder: which repository, revision and licence, and each file's sha256."""
INDEX = "model_index.json"
NOT_FETCHED = ("safety_checker",)
"""Parts of a pipeline that are never loaded."""
_PLAIN = (".json", ".txt", ".model", ".jinja")
"""Configuration and vocabulary."""
_HALF = ("fp16", "bf16")
_VARIANTS = (*_HALF, "non_ema", "fp32")
"""What the hub's file names say of their weights, between stem and ending; weights without are plain."""
_PICKLES = (".bin", ".ckpt", ".pt", ".pth")


@dataclass(frozen=True)
class Model:
    """A model on the hub, and what of it is needed.

    Attributes:
        repository: where it is.
        files: the paths to fetch.
        folder: where they go.
    """

    repository: Repository
    files: tuple[str, ...]
    folder: Path

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(self.repository.files[file] for file in self.files)

    @property
    def wanted(self) -> Wanted:
        """What the user is asked."""
        about = self.repository
        return Wanted("model", f"{about.reference.name}@{about.commit[:12]}", self.bytes, about.licence, self.folder)

    def fetch(self, console: Console) -> None:
        """Fetches the files, unless the folder is there; what was fetched before an interruption is kept.

        Raises:
            InputError: the hub, the network or the disk refuses; the folder appears only when it is whole.
        """
        if not self.folder.is_dir():
            _fetch(self, console)


def folder_of(name: str) -> Path:
    """The folder of a model: `name` itself, or `models/NAME` for the hub's "OWNER/NAME" and "OWNER/NAME@REVISION"."""
    folder = Path(name)
    if folder.is_dir() or not is_reference(name):
        return folder.absolute()
    return (MODELS / Reference.parse(name).name.split("/")[1]).absolute()


def find_model(name: str, folder: Path | None = None) -> Model:
    """Asks the hub for a model, and chooses the files that are needed.

    Args:
        name: "OWNER/NAME" or "OWNER/NAME@REVISION".
        folder: where it is to go; None: `folder_of`.

    Raises:
        InputError: the hub has no such model or does not give it, or its weights are pickles only.
    """
    reference = Reference.parse(name)
    found = look(reference, "model")
    return Model(found, needed_files(found), (folder or folder_of(name)).absolute())


def needed_files(repository: Repository) -> tuple[str, ...]:
    """The files of a model to fetch, sorted.

    Of a diffusion pipeline those of its parts in half precision, where the hub has both; single-file checkpoints beside
    the parts, pickles, the safety checker and other frameworks' weights stay. Of other models what lies at the top.

    Raises:
        InputError: the weights are pickles only.
    """
    is_pipeline = INDEX in repository.files
    folders: dict[str, list[str]] = {}
    for path in repository.files:
        parent = PurePosixPath(path).parent.as_posix()
        if parent == "." or (is_pipeline and "/" not in parent and parent not in NOT_FETCHED):
            folders.setdefault(parent, []).append(path)
    if is_pipeline:
        folders["."] = [INDEX]
    chosen = [file for files in folders.values() for file in _one_precision(files, prefers_half=is_pipeline)]
    for parent, files in folders.items():
        pickled = [file for file in files if PurePosixPath(file).suffix in _PICKLES]
        safe = [file for file in files if file.endswith(".safetensors")]
        if pickled and not safe and not (is_pipeline and parent == "."):
            raise InputError(
                f"{repository.reference} has weights only as {listed(pickled)}, which are pickled and never loaded. "
                "Convert them: save_pretrained(..., safe_serialization=True)."
            )
    if not any(file.endswith(".safetensors") for file in chosen):
        raise InputError(f"{repository.reference} has no weights as .safetensors. Look: {repository.page}")
    return tuple(sorted(chosen))


def _one_precision(files: Iterable[str], *, prefers_half: bool) -> list[str]:
    """The plain files of a folder, and its weights, with their index, in one precision."""
    plain, weights = [], dict[str, list[str]]()
    for file in files:
        if ".safetensors" in file:
            weights.setdefault(_variant(PurePosixPath(file).name), []).append(file)
        elif file.endswith(_PLAIN) and ".index." not in file:
            plain.append(file)
    order = (*_HALF, "") if prefers_half else ("", *_HALF)
    return [*plain, *next((weights[variant] for variant in order if variant in weights), [])]


def _variant(name: str) -> str:
    """Which weights a file has: model.fp16-00001-of-00002.safetensors those of "fp16"."""
    words = {piece.split("-")[0] for piece in name.split(".")[1:]}
    return next((variant for variant in _VARIANTS if variant in words), "")


def _fetch(model: Model, console: Console) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    folder, repository = model.folder, model.repository
    name = repository.reference.name
    aside = folder.with_name(f".{folder.name}.partial")
    folder.parent.mkdir(parents=True, exist_ok=True)
    check_room(folder.parent, model.bytes - grown(aside), str(repository.reference))
    disable_progress_bars()
    with refusals_in_a_sentence(repository.reference, "model"), shown_download(aside, model.bytes, name, console):
        patterns = [_literal(file) for file in model.files]
        snapshot_download(
            name, revision=repository.commit, local_dir=aside, allow_patterns=patterns, endpoint=endpoint()
        )
    if wrong := [file for file in model.files if _size(aside / file) != repository.files[file]]:
        for file in wrong:
            (aside / file).unlink(missing_ok=True)
        raise InputError(f"The hub has sent {listed(wrong)} of {name} in part. The same command fetches it again.")
    about = {"hub": name, "revision": repository.commit, "licence": repository.licence}
    write_json(aside / NOTE, {**about, "sha256": {file: file_sha256(aside / file) for file in model.files}})
    shutil.rmtree(aside / ".cache", ignore_errors=True)
    aside.rename(folder)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _literal(path: str) -> str:
    """A pattern that only this path fits."""
    return re.sub(r"([\[*?])", r"[\1]", path)

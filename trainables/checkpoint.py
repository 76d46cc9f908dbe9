"""Checkpoints of a running cohort: one safetensors file, replaced atomically after every epoch.

All randomness of a training is derived from (seed, epoch, image), so weights, the optimizer's state and the epoch are
all there is to save: resuming is exact. No pickles. The file's metadata says which trials it holds and how far they
are.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from datagen.core.files import written_whole
from datagen.core.identity import fingerprint_of
from trainables.trunk import Branch, Trunk


class CohortCheckpoint:
    """Saves and restores the branches of a cohort in `folder`, which cohorts of the same data stream share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, epoch: int, trunk: Trunk, branches: Sequence[Branch]) -> Path:
        """Writes the state after `epoch` (from 1) epochs, in place of the epoch before."""
        tensors = {f"trunk/{key}": value for key, value in trunk.layers.timm_state().items()}
        numbers: dict[str, dict[str, float]] = {}
        for branch in branches:
            name = branch.spec.fingerprint
            tensors |= {f"{name}/weights/{key}": value for key, value in branch.layers.timm_state().items()}
            states, numbers[name] = branch.optimizer_state()
            tensors |= {f"{name}/optimizer/{key}": value for key, value in states.items()}
            if branch.average is not None:
                tensors |= {f"{name}/average/{key}": value for key, value in branch.evaluated.timm_state().items()}
        members = {
            b.spec.fingerprint: {
                "history": b.history,
                "failure": b.failure,
                "scaler": b.scaler.state_dict(),
                **({"optimizer": numbers[b.spec.fingerprint]} if numbers[b.spec.fingerprint] else {}),
            }
            for b in branches
        }
        return self._write(epoch, members, tensors)

    def _write(self, epoch: int, members: dict[str, Any], tensors: dict[str, Tensor]) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        metadata = {"epoch": str(epoch), "members": json.dumps(members)}
        path = self._path(members)
        kept = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        metadata["sha256"] = _digest(metadata, kept)
        with written_whole(path) as aside:
            save_file(kept, aside, metadata)
        return path

    def restore(self, trunk: Trunk, branches: Sequence[Branch]) -> int:
        """Loads the furthest state that holds all `branches` and returns its epoch; 0 if there is none.

        The file may hold further branches: those that finished before an interruption, for example. One that is
        damaged is warned of and passed over: its epochs are repeated.
        """
        wanted = {branch.spec.fingerprint for branch in branches}
        found = [(_contents(path), path) for path in sorted(self._folder.glob("[!.]*.safetensors"))]
        fitting = [(epoch, path) for (epoch, members), path in found if epoch and wanted <= set(members)]
        for epoch, path in sorted(fitting, key=lambda item: -item[0]):
            if tensors := _tensors(path):
                _load(_contents(path)[1], tensors, trunk, branches)
                return epoch
        return 0

    def discard(self, fingerprints: Sequence[str]) -> None:
        """Removes the checkpoints of these trials and no others, once what they led to is published.

        The folder stays: another piece of the same cohort may be about to write to it.
        """
        for path in self._folder.glob("*.safetensors"):
            members = set(_contents(path)[1])
            # None: it cannot be read now, and may be another piece's.
            if members and members <= set(fingerprints):
                path.unlink(missing_ok=True)

    def forget(self, fingerprint: str) -> None:
        """Takes a trial out of all checkpoints, so that it starts anew; what they hold of other trials stays."""
        for path in list(self._folder.glob("*.safetensors")):
            epoch, members = _contents(path)
            if members.pop(fingerprint, None) is None:
                continue
            if members and _contents(self._path(members))[0] < epoch and (tensors := _tensors(path)):
                self._write(epoch, members, {k: v for k, v in tensors.items() if not k.startswith(f"{fingerprint}/")})
            path.unlink()

    def _path(self, members: Iterable[str]) -> Path:
        return self._folder / f"{fingerprint_of(sorted(members))}.safetensors"


def _contents(path: Path) -> tuple[int, dict[str, Any]]:
    """The epoch and the members of a checkpoint; nothing if it is damaged, which costs a repetition, not the study."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        return int(metadata["epoch"]), json.loads(metadata["members"])
    except (SafetensorError, OSError, KeyError, ValueError):
        return 0, {}


def _digest(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """sha256 over all that a checkpoint says, 64 hexadecimal digits: a flipped bit must not train on."""
    digest = hashlib.sha256(json.dumps([metadata["epoch"], metadata["members"]]).encode())
    for key, tensor in sorted(tensors.items()):
        digest.update(json.dumps([key, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint; nothing, and a warning, if it is damaged. Earlier versions wrote no checksum."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        if metadata.get("sha256", None) in (None, _digest(metadata, tensors)):
            return tensors
        reason = "its checksum differs"
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        reason = str(error)
    warnings.warn(f"The checkpoint {path} is damaged ({reason}). What it held is trained again.", stacklevel=2)
    return {}


def _load(members: Mapping[str, Any], tensors: Mapping[str, Tensor], trunk: Trunk, branches: Sequence[Branch]) -> None:
    def section(prefix: str) -> dict[str, Tensor]:
        return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

    with torch.no_grad():
        trunk.layers.load_timm_state(section("trunk/"))
        for branch in branches:
            name = branch.spec.fingerprint
            branch.layers.load_timm_state(section(f"{name}/weights/"))
            earlier = {f"momentum_buffer/{key}": value for key, value in section(f"{name}/momentum/").items()}
            branch.load_optimizer_state(section(f"{name}/optimizer/") or earlier, members[name].get("optimizer", {}))
            if branch.average is not None:
                branch.evaluated.load_timm_state(section(f"{name}/average/"))
            branch.history = members[name]["history"]
            branch.failure = members[name]["failure"]
            branch.scaler.load_state_dict(members[name]["scaler"])

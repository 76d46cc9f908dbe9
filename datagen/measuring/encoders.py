"""Networks whose features sets are measured in: a training of the store, or a network of timm's with its weights.

Weights are read as safetensors alone, and nothing but classes of the installed timm is built.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datagen.core.device import this_device
from datagen.core.errors import InputError
from datagen.core.wording import first_line
from datagen.datasets.decoding import CorruptError, decoded_image, undecodable
from datagen.datasets.shards import read_manifest, read_rows

BATCH = 128
SIDECAR, WEIGHTS = "model.json", "weights.safetensors"


@dataclass(frozen=True)
class Encoder:
    """What gives features of images.

    Attributes:
        name: for readers.
        prepare: an image [3, height, width] uint8 to the network's input [3, size, size] float32.
        network: a batch of such inputs to features [n, d].
    """

    name: str
    prepare: Callable[[Any], Any]
    network: Callable[[Any], Any]


@dataclass(frozen=True)
class Features:
    """Of a set's images in its order: features [n, d] float64, labels [n], and the paths."""

    values: np.ndarray
    labels: np.ndarray
    paths: list[str]


def load_encoder(folder: Path) -> Encoder:
    """The encoder in a folder: of a training (`models/FINGERPRINT` of a store), or a download of a timm network.

    Raises:
        InputError: the folder holds neither, or weights that do not fit.
    """
    if (folder / SIDECAR).is_file() and (folder / WEIGHTS).is_file():
        return _stored(folder)
    if (folder / "config.json").is_file() and (folder / "model.safetensors").is_file():
        return _downloaded(folder)
    raise InputError(
        f"{folder} holds no encoder: neither a training of a store ({SIDECAR} and {WEIGHTS}) nor a timm network as "
        "the hub has it (config.json and model.safetensors), such as "
        "python -m datagen.fetch timm/vit_small_patch14_dinov2.lvd142m --into DIR."
    )


def _stored(folder: Path) -> Encoder:
    """The network of a sidecar up to its classifier, with the evaluation's preparation."""
    import timm
    import torch
    from safetensors.torch import load_file
    from torchvision.transforms import v2

    told = json.loads((folder / SIDECAR).read_text(encoding="utf-8"))
    described, rules = told["network"], told["evaluation"]
    if described["made_by"] == "timm.create_model":
        network = timm.create_model(**described["arguments"])
    elif described["made_by"] == "timm.models.resnet.ResNet":
        arguments = dict(described["arguments"])
        block = getattr(timm.models.resnet, arguments.pop("block"))
        network = timm.models.resnet.ResNet(block, **arguments)
    else:
        raise InputError(f"The network of {folder} is a user's own, {described['made_by']}: choose another encoder.")
    for name, convolution in described["replaced_by_conv2d"].items():
        network.set_submodule(name, torch.nn.Conv2d(**convolution))
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except Exception as error:
        raise InputError(f"The weights in {folder} do not fit its network: {first_line(error)}") from error
    network.set_submodule(described["head"]["module"], torch.nn.Identity())
    norm = v2.Normalize(rules["normalization"]["mean"], rules["normalization"]["std"])
    resize = v2.Resize(rules["resize_shorter_side"], antialias=rules["antialias"])
    prepare = v2.Compose([resize, v2.CenterCrop(rules["center_crop"]), v2.ToDtype(torch.float32, scale=True), norm])
    return Encoder(f"{told['title']} of a store", prepare, network.eval())


def _downloaded(folder: Path) -> Encoder:
    """A timm network with the preparation that its configuration tells."""
    import timm
    import torch
    from torchvision.transforms import InterpolationMode, v2

    try:
        network = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
    except Exception as error:
        raise InputError(f"timm cannot build the network in {folder}: {first_line(error)}") from error
    told = timm.data.resolve_model_data_config(network)
    size = told["input_size"][-1]
    prepare = v2.Compose(
        [
            v2.Resize(round(size / told["crop_pct"]), InterpolationMode(told["interpolation"]), antialias=True),
            v2.CenterCrop(size),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(told["mean"], told["std"]),
        ]
    )
    architecture = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architecture", folder.name)
    return Encoder(str(architecture), prepare, network.eval())


def features_of(folder: Path, encoder: Encoder, progress: Callable[[int, int], None]) -> Features:
    """The features of a set's images, computed on a GPU if there is one.

    Args:
        folder: the set's.
        encoder: the network.
        progress: told the images that are done, of all.

    Raises:
        InputError: an image or a shard is damaged.
    """
    import torch

    device = this_device()
    network: Any = encoder.network
    network.to(device)
    total, found, labels, paths = read_manifest(folder).rows, [], [], []
    for batch in _batches(folder):
        inputs = torch.stack([encoder.prepare(image) for image, _, _ in batch]).to(device)
        with torch.inference_mode():
            found.append(network(inputs).flatten(1).double().cpu().numpy())
        labels += [label for _, label, _ in batch]
        paths += [path for _, _, path in batch]
        progress(len(labels), total)
    return Features(np.concatenate(found), np.array(labels), paths)


def _batches(folder: Path) -> Iterator[list[tuple[Any, int, str]]]:
    held: list[tuple[Any, int, str]] = []
    for rows in read_rows(folder):
        for row in rows.to_pylist():
            path = row["image"]["path"]
            try:
                held.append((decoded_image(row["image"]["bytes"]), row["label"], path))
            except CorruptError as error:
                raise undecodable(folder, path, error) from None
            if len(held) == BATCH:
                yield held
                held = []
    if held:
        yield held

"""Networks as a sequence of layers that can be cut anywhere, built on timm, with the papers' cosine classifier."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from timm.models.resnet import Bottleneck, ResNet
from torch import Tensor, nn
from torch.nn import functional

from datagen.core.errors import InputError
from datagen.core.files import file_sha256
from datagen.core.identity import derived_seed
from datagen.core.own_code import is_own, loaded, name_of, source_of
from datagen.core.wording import first_line
from trainables.models.layers import ADD, LAYERS, PREPEND, Layer, classifier_name, layers_of_network
from trainables.models.parts import key_in_network, part_of

SLIM_WIDTH = 8
"""Channels of the slim ResNet-50's first stage (64 in the full one): 0.38 M parameters, 1.3 MMAC at 32 px."""


class CosineClassifier(nn.Module):
    """logits = cos(x, w) / temperature: features and class weights are L2-normalized, no bias.

    The head of t-ReX (`ClfLayer`, temperature 0.1), which both papers use (Mind the Gap, section 4.1).
    """

    def __init__(self, features: int, classes: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        # nn.Linear's own initialization (Kaiming uniform, a = sqrt 5), as in t-ReX.
        self.weight = nn.Parameter(nn.Linear(features, classes, bias=False).weight.detach().clone())

    def forward(self, features: Tensor) -> Tensor:
        """[batch, features] float to [batch, classes] float32 logits in -1/temperature..1/temperature.

        In float32 also under autocast: in float16 the smallest norm is 0, and 0 / 0 is not a number.
        """
        with torch.autocast(features.device.type, enabled=False):
            cosine = functional.linear(functional.normalize(features.float()), functional.normalize(self.weight))
        return cosine / self.temperature


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution of stride 1 without bias, computed as the matrix product that it is.

    For slim layers on a CPU this is 1.7 times as fast as oneDNN's convolution, forward and backward
    (`benchmarks/README.md`); the parameter and its name stay the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[batch, inputs, height, width] to [batch, outputs, height, width], channels last."""
        return functional.linear(input.permute(0, 2, 3, 1), self.weight.flatten(1)).permute(0, 3, 1, 2)


class Layers(nn.Module):
    """Consecutive layers of a network; its state keeps timm's key names ("layer1.0.conv1.weight")."""

    def __init__(self, model: nn.Module, layers: tuple[Layer, ...]) -> None:
        super().__init__()
        self.names = [name for layer in layers for name in layer.modules]
        self.parts = nn.ModuleList(part_of(model, name) for name in self.names)
        self._sizes = [len(layer.modules) for layer in layers]
        self._compiled: tuple[nn.Module, ...] = ()

    def compile_each(self, backend: str) -> None:
        """Has each layer compiled by itself when it is first used, for the shapes that it then meets.

        Nothing may put another module in the place of a part afterwards, as `SyncBatchNorm`'s conversion does.
        """
        parts = iter(self.parts)
        whole = [nn.Sequential(*itertools.islice(parts, size)) for size in self._sizes]
        for layer in whole:
            layer.compile(backend=backend, dynamic=False)
        # In a tuple they are not torch's children, so that nothing is listed twice.
        self._compiled = tuple(whole)

    def forward(self, activation: Tensor) -> Tensor:
        """The activation after the last layer."""
        for part in self._compiled or self.parts:
            activation = part(activation)
        return activation

    def after_layers(self, activation: Tensor, wanted: Collection[int]) -> dict[int, Tensor]:
        """The activation after so many layers, for each number that is `wanted`; after 0 it is the input itself.

        No other is held: a pass takes little more memory than what it gives.
        """
        activations = {0: activation} if 0 in wanted else {}
        parts = iter(self.parts)
        for number, size in enumerate(self._sizes, 1):
            own = [self._compiled[number - 1]] if self._compiled else itertools.islice(parts, size)
            for part in own:
                activation = part(activation)
            if number in wanted:
                activations[number] = activation
        return activations

    def timm_state(self) -> dict[str, Tensor]:
        """Parameters and buffers under timm's names; the tensors are the layers' own, not copies."""
        return {
            key_in_network(name, key): value
            for name, part in zip(self.names, self.parts, strict=True)
            for key, value in part.state_dict().items()
        }

    def load_timm_state(self, state: dict[str, Tensor]) -> None:
        """Loads these layers' values out of a whole network's state.

        Raises:
            KeyError: a value is missing.
        """
        for key, value in self.timm_state().items():
            value.copy_(state[key])


def build_layers(
    model: str,
    classes: int,
    seed: int,
    *,
    network: tuple[Layer, ...] = (),
    head: str = "cosine",
    temperature: float = 0.1,
    first: int = 0,
    last: int | None = None,
    image_size: int | None = None,
    sources: tuple[str, ...] = (),
) -> Layers:
    """Layers `first` + 1 to `last` of a freshly initialized network; by default all of them.

    A layer's initial values depend on `seed` alone, not on `first`, so branches of different depth start out alike.
    `network` lists its layers, by default those of `LAYERS`. `head` is "cosine" (with `temperature`) or "linear",
    timm's own with bias. `image_size` is for networks that are made for one size; `sources` hold a user's own network.

    Raises:
        InputError: timm has no such network or cannot build it, or the list misses a parameter or names one twice.
    """
    listed = network or layers_of_network(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "initialization"))
        module = new_network(model, classes, image_size, sources)
        _check_list(model, module, listed)
        if head == "cosine":
            name = classifier_name(listed)
            features = getattr(module.get_submodule(name), "in_features")  # noqa: B009 - unknown to the type checker
            module.set_submodule(name, CosineClassifier(features, classes, temperature))
    layers = Layers(module, listed[first:last])
    # 1.3 times faster than the default layout on CPUs (31.8 against 41.6 ms a step of 64 slim images), more on GPUs.
    return layers.to(memory_format=torch.channels_last)


def _options(model: str) -> dict[str, Any]:
    """What `timm.create_model` is told beside a network's name and its classes."""
    # t-ReX keeps the last BatchNorm of each block at weight 1 (docs/papers.md, "Training").
    return {"zero_init_last": False} if model.startswith("resnet") else {}


def new_network(model: str, classes: int, image_size: int | None = None, sources: tuple[str, ...] = ()) -> nn.Module:
    """A whole network by its name, with its own default initialization: ours, timm's, or a user's.

    Raises:
        InputError: timm has no such network or cannot build it, or the user's code fails.
    """
    if model in _BUILDERS:
        return _BUILDERS[model](classes)
    if is_own(model):
        network, _ = _own_network(model, classes, sources)
        return network
    if not timm.is_model(model):
        raise InputError(f"timm has no network {model!r}. {_nearest_network(model)}")
    try:
        sized = {"img_size": image_size} if image_size and _is_for_another_size(model, image_size) else {}
        network = timm.create_model(model, num_classes=classes, **_options(model), **sized)
    except Exception as error:
        raise InputError(f"timm cannot build {model} for {classes} classes: {first_line(error)}") from error
    return network


def _is_for_another_size(model: str, image_size: int) -> bool:
    """Whether a network of timm's is made for images of one size, as vision transformers are, and not of this."""
    told = timm.get_pretrained_cfg(model)
    return model not in LAYERS and told is not None and told.fixed_input_size and told.input_size[-1] != image_size


def _own_network(model: str, classes: int, sources: tuple[str, ...]) -> tuple[nn.Module, tuple[str, ...]]:
    """A user's network for so many classes, and the layers that their function lists with it, if it does."""
    made = loaded(model, sources)
    try:
        made = made(classes)
    except Exception as error:
        raise InputError(f"{name_of(model)} cannot be built for {classes} classes: {first_line(error)}") from error
    network, layers = made if isinstance(made, tuple) and len(made) == 2 else (made, ())
    if not isinstance(network, nn.Module) or not all(isinstance(layer, str) for layer in layers):
        raise InputError(
            f"{name_of(model)} must return a torch.nn.Module, or one with a list of its layers, each a text "
            f"'name=module module', not {type(made).__name__}."
        )
    return network, tuple(layers)


def own_layers(model: str, sources: tuple[str, ...]) -> tuple[str, ...]:
    """The layers that a user's function lists for its network; none for other networks, or if it lists none."""
    return _own_network(model, 2, sources)[1] if is_own(model) else ()


def _nearest_network(model: str) -> str:
    close = difflib.get_close_matches(model, timm.list_models(), n=3, cutoff=0.4)
    return f"Did you mean {' or '.join(close)}?" if close else "timm.list_models() has the names."


_SLIM: dict[str, Any] = {
    "layers": (3, 4, 6, 3),
    "stem_type": "deep",
    "stem_width": SLIM_WIDTH // 2,
    "channels": (SLIM_WIDTH, 2 * SLIM_WIDTH, 4 * SLIM_WIDTH, 8 * SLIM_WIDTH),
    # timm's default; without it, as the papers train, 8 epochs on the pocket data reach 70 % instead of 76 %.
    "zero_init_last": True,
}
_SLIM_STEM: dict[str, Any] = {
    **{"in_channels": 3, "out_channels": SLIM_WIDTH, "kernel_size": 3},
    **{"stride": 2, "padding": 1, "bias": False},
}


def _resnet50_slim(classes: int) -> ResNet:
    """ResNet-50's topology at an eighth of its width, its 7x7 stem convolution replaced by 3x3 for 32-px images."""
    network = ResNet(Bottleneck, num_classes=classes, **_SLIM)
    network.conv1 = nn.Conv2d(**_SLIM_STEM)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.stride == (1, 1):
            module.__class__ = PointwiseConv2d
    return network


_BUILDERS: dict[str, Callable[[int], nn.Module]] = {"resnet50_slim": _resnet50_slim}
"""Networks that are not timm's by name."""


def described_network(
    model: str,
    classes: int,
    network: Sequence[Layer],
    *,
    head: str,
    temperature: float,
    image_size: int,
    sources: tuple[str, ...],
) -> dict[str, Any]:
    """How to build a network with timm and torch alone, as plain values; the arguments are those of `build_layers`."""
    slim = model in _BUILDERS
    maker = {"made_by": "timm.models.resnet.ResNet", "arguments": {"block": "Bottleneck", **_SLIM}}
    timm_maker = {"made_by": "timm.create_model", "arguments": {"model_name": model, **_options(model)}}
    described: dict[str, Any] = maker if slim else timm_maker
    described["arguments"]["num_classes"] = classes
    if is_own(model):
        described = {"made_by": name_of(model), "source": source_of(model, sources), "arguments": [classes]}
    elif not slim and _is_for_another_size(model, image_size):
        described["arguments"]["img_size"] = image_size
    described["replaced_by_conv2d"] = {"conv1": _SLIM_STEM} if slim else {}
    described["layers"] = [{"name": layer.name, "modules": list(layer.modules)} for layer in network]
    described["head"] = {"module": classifier_name(network), "kind": head}
    if head == "cosine":
        formula = "normalize(features) @ normalize(weight).T / temperature, each row of L2 norm 1"
        described["head"] |= {"temperature": temperature, "logits": formula}
    else:
        described["head"] |= {"logits": "features @ weight.T + bias"}
    return described


def _check_list(model: str, network: nn.Module, layers: Sequence[Layer]) -> None:
    listed: list[str] = []
    for name in (name for layer in layers for name in layer.modules):
        try:
            part = part_of(network, name)
        except (AttributeError, ValueError) as error:
            raise InputError(f"The layer list of {model} names {name}, which the network does not have.") from error
        listed += [key_in_network(name, key) for key, _ in part.named_parameters()]
    actual = {key for key, _ in network.named_parameters()}
    if missing := actual - set(listed):
        first = min(missing)
        hint = "" if "." in first else f" It is listed as {ADD}{first} or, a token before the others, {PREPEND}{first}."
        raise InputError(f"The layer list of {model} misses {first}.{hint}")
    if len(listed) != len(set(listed)):
        twice = next(name for name in listed if listed.count(name) > 1)
        raise InputError(f"The layer list of {model} names {twice} twice.")
    last = classifier_name(layers)
    if not isinstance(dict(network.named_modules()).get(last), nn.Linear):
        raise InputError(f"The last module of {model}'s layer list, {last}, is no linear classifier.")


def randomize(state: Mapping[str, Tensor], generator: torch.Generator) -> None:
    """Gives every value of a network a size at which it matters.

    BatchNorm's weights are of either sign: with positive ones it could change places with a maximum.
    """
    with torch.no_grad():
        for key, value in state.items():
            if not value.is_floating_point():
                continue
            noise = torch.randn(value.shape, generator=generator)
            if key.endswith("running_var"):
                value.copy_(noise.exp())
            elif value.ndim > 1:
                value.copy_(noise / value[0].numel() ** 0.5)
            else:
                value.copy_(noise)


def load_initial_weights(layers: Layers, network: Sequence[Layer], file: Path | None, digest: str) -> None:
    """Loads all layers but the classifier from a safetensors file with timm's names, such as its pretrained weights.

    Raises:
        InputError: the file is missing, has another sha256 than `digest`, or lacks a value of the right shape.
    """
    if file is None or not file.is_file():
        raise InputError(f"There are no weights to start from in {file}. Put them there.")
    if file_sha256(file) != digest:
        raise InputError(f"{file} has changed since the plan was made. Give the command again.")
    state = load_file(file)
    with torch.no_grad():
        for key, value in layers.timm_state().items():
            if key.startswith(f"{classifier_name(network)}."):
                continue
            if key not in state or state[key].shape != value.shape:
                raise InputError(f"{file} does not fit the network: it has no {key} of shape {tuple(value.shape)}.")
            value.copy_(state[key])


def timm_checkpoint(layers: Sequence[Layer], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A whole network's state as `timm.create_model(model, num_classes=..., checkpoint_path=...)` loads it.

    timm's classifier has a bias and the cosine classifier none: it gets one of zeros. (The cosine and its temperature
    are not timm's, so only the features are the trained network's; `described_network` says what head to put there.)
    """
    name = classifier_name(layers)
    weight = state[f"{name}.weight"]
    return {f"{name}.bias": torch.zeros(len(weight)), **state}

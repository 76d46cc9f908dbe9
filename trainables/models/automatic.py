"""The layers of a network that nobody has listed, found by watching it compute.

A network that applies its modules one after the other can be cut between any two. Which modules do is seen from what
each is given and gives; how fine the cuts are is timm's own grouping (`group_matcher`, by which it decays learning
rates by layer), or of a user's network its blocks. `python -m trainables.models NAME` prints what is found.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from timm.models import group_parameters
from torch import Tensor, nn

from datagen.core.errors import InputError
from datagen.core.own_code import name_of
from datagen.core.wording import first_line
from trainables.models.layers import ADD, PREPEND
from trainables.models.networks import new_network, own_layers, randomize
from trainables.models.parts import STEPS

MOST_STEPS = 3
"""Steps without a module of their own between two modules: a vision transformer has two (class token, positions)."""
ATOL = 1e-5


@dataclass
class _Call:
    """One use of a module: what it was given and gave, None where that is not a single tensor, and the calls within."""

    name: str
    given: Tensor | None
    gave: Tensor | None = None
    within: list[_Call] = field(default_factory=list)


@functools.cache
def automatic_layers(model: str, image_size: int, sources: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The layers of a network, each "name=module module ...", the linear classifier as the last module of the last.

    Args:
        model: a name of timm's, or a user's own network (`datagen.core.own_code`), whose list it may give itself.
        image_size: side in pixels of the images that it is watched with.
        sources: texts of the user's files.

    Raises:
        InputError: there is no such network, it cannot be applied to such images, or it is no chain of modules.
    """
    if listed := own_layers(model, sources):
        return listed
    network = new_network(model, 2, image_size, sources).eval()
    generator = torch.Generator().manual_seed(0)
    randomize(network.state_dict(), generator)
    whole = _watched(network, model, torch.randn(2, 3, image_size, image_size, generator=generator))
    classifier = _classifier(network, whole)
    group_of = _groups(network)
    names = _flattened(whole, network, classifier, group_of) if classifier else [""]
    if classifier not in names or names == [""]:
        raise InputError(
            f"The layers of {name_of(model)} cannot be found: it is no chain of modules that ends in a linear "
            "classifier. List them: layers='name=module module;name=module' and so on (docs/guide.md)."
        )
    return _listed(names[: names.index(classifier) + 1], network, group_of)


def _watched(network: nn.Module, model: str, images: Tensor) -> _Call:
    """The call of the whole network, with all calls within it."""
    open_calls: list[_Call] = []
    root = _Call("", None)

    def begin(name: str, arguments: Any, keywords: Any) -> None:
        alone = len(arguments) == 1 and isinstance(arguments[0], Tensor)
        tensors = alone and not any(isinstance(value, Tensor) for value in keywords.values())
        # A copy, for modules such as ReLU may change what they are given in its place.
        call = _Call(name, arguments[0].clone() if tensors else None)
        if open_calls:
            open_calls[-1].within.append(call)
        open_calls.append(call)

    def end(output: Any) -> None:
        call = open_calls.pop()
        call.gave = output.clone() if isinstance(output, Tensor) else None
        if not open_calls:
            root.given, root.gave, root.within = call.given, call.gave, call.within

    with _hooks(network, begin, end), torch.no_grad():
        try:
            network(images)
        except Exception as error:
            size = images.shape[-1]
            raise InputError(
                f"{name_of(model)} cannot be applied to images of {size} px: {first_line(error)}"
            ) from error
    return root


@contextmanager
def _hooks(network: nn.Module, begin: Callable[..., None], end: Callable[[Any], None]) -> Iterator[None]:
    handles = []
    for name, module in network.named_modules():
        before = functools.partial(lambda name, module, given, keywords: begin(name, given, keywords), name)
        handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(module.register_forward_hook(lambda module, given, output: end(output)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _classifier(network: nn.Module, whole: _Call) -> str:
    """The name of the last linear module that is called; empty if there is none."""
    called = [call.name for call in _all_calls(whole) if isinstance(network.get_submodule(call.name), nn.Linear)]
    return called[-1] if called else ""


def _all_calls(call: _Call) -> Iterator[_Call]:
    for inner in call.within:
        yield inner
        yield from _all_calls(inner)


def _groups(network: nn.Module) -> Callable[[str], Any]:
    """To which layer a parameter belongs: by timm's grouping, or by the blocks of a network that has none."""
    if hasattr(network, "group_matcher"):
        timms: Any = network
        by_name = group_parameters(network, timms.group_matcher(coarse=False), reverse=True)
        return lambda name: by_name[name]
    return functools.partial(_block_of, network)


def _block_of(network: nn.Module, name: str) -> str:
    """The child of the network that holds a parameter, or the child's own where it is a row of composite modules."""
    first, *rest = name.split(".")
    child = getattr(network, first)
    is_row = isinstance(child, nn.Sequential | nn.ModuleList) and any(list(block.children()) for block in child)
    return f"{first}.{rest[0]}" if is_row else first


def _flattened(call: _Call, network: nn.Module, classifier: str, group_of: Callable[[str], Any]) -> list[str]:
    """A call's modules as far down as they belong to different layers, and the steps between them."""
    prefix = f"{call.name}." if call.name else ""
    groups = {group_of(prefix + key) for key, _ in network.get_submodule(call.name).named_parameters()}
    divides = len(groups) > 1 or (classifier.startswith(prefix) and call.name != classifier)
    links = _chain(call, network) if divides else None
    if links is None:
        return [call.name]
    flat: list[str] = []
    for link in links:
        flat += [link] if isinstance(link, str) else _flattened(link, network, classifier, group_of)
    return flat


def _chain(call: _Call, network: nn.Module) -> list[_Call | str] | None:
    """The calls within a call and the steps between them, if each takes up where the one before it ends."""
    names = [inner.name for inner in call.within]
    if not names or len(set(names)) < len(names) or call.given is None or call.gave is None:
        return None
    module = network.get_submodule(call.name)
    prefix = f"{call.name}." if call.name else ""
    own = {prefix + key: value for key, value in module.named_parameters(recurse=False)}
    links: list[_Call | str] = []
    current: Tensor | None = call.given
    for inner in call.within:
        steps = _steps_between(current, inner.given, own)
        if steps is None:
            return None
        links += [*steps, inner]
        current = inner.gave
    steps = _steps_between(current, call.gave, own)
    return None if steps is None else [*links, *steps]


def _steps_between(before: Tensor | None, after: Tensor | None, own: dict[str, nn.Parameter]) -> tuple[str, ...] | None:
    """The shortest sequence of steps that leads from one activation to the next, None if none is known."""
    if before is None or after is None:
        return None
    known: dict[str, Callable[[Tensor], Tensor]] = {**STEPS}
    known |= {f"{ADD}{name}": functools.partial(torch.add, value) for name, value in own.items()}
    known |= {f"{PREPEND}{name}": functools.partial(_prepended, value) for name, value in own.items()}
    for count in range(MOST_STEPS + 1):
        for steps in itertools.permutations(known, count):
            if _leads(before, after, [known[step] for step in steps]):
                return steps
    return None


def _prepended(tokens: Tensor, activation: Tensor) -> Tensor:
    return torch.cat([tokens.expand(len(activation), -1, -1), activation], dim=1)


def _leads(before: Tensor, after: Tensor, steps: list[Callable[[Tensor], Tensor]]) -> bool:
    try:
        for step in steps:
            before = step(before)
    except (RuntimeError, IndexError):  # A step for activations of another shape.
        return False
    return before.shape == after.shape and torch.allclose(before, after, atol=ATOL)


def _listed(names: list[str], network: nn.Module, group_of: Callable[[str], Any]) -> tuple[str, ...]:
    """Modules and steps, the classifier last, in layers: one for each group of parameters, the rest joined to them.

    What has no parameters belongs to what it follows, but before the classifier's layer to that: pooling is the head's.
    """
    layers: list[list[str]] = []
    group: Any = None
    pending: list[str] = []
    for name in names:
        keys = _parameters_of(name, network)
        own = group_of(keys[0]) if keys else None
        vectors = hasattr(network, "group_matcher") or any(network.get_parameter(key).ndim > 1 for key in keys)
        if keys and own != group and (vectors or not layers):
            layers.append([*pending, name])
            group, pending = own, []
        elif layers:
            layers[-1].append(name)
        else:
            pending.append(name)
    if len(layers) > 1:
        before = layers[-2]
        while not _parameters_of(before[-1], network):
            layers[-1].insert(0, before.pop())
    titles = [next(name for name in layer if _parameters_of(name, network)) for layer in layers]
    if len(layers[0]) > 1:
        titles[0] = "stem"
    titles[-1] = "head"
    return tuple(f"{title}={' '.join(layer)}" for title, layer in zip(titles, layers, strict=True))


def _parameters_of(name: str, network: nn.Module) -> list[str]:
    for prefix in (ADD, PREPEND):
        if name.startswith(prefix):
            return [name.removeprefix(prefix)]
    if name in STEPS:
        return []
    return [f"{name}.{key}" for key, _ in network.get_submodule(name).named_parameters()]

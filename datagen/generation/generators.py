"""Image generators: what makes the images of a data set, one class for each kind of spec.

A generator holds the networks and is given positions; `datagen.generation.engine` shares those out among actors.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from datagen.datasets.shards import ImageRow
from datagen.datasets.spec import DerivedDataset, GeneratedDataset, OracleDataset, StylizedDataset

_GENERATORS: dict[type[DerivedDataset], tuple[str, str]] = {
    GeneratedDataset: ("datagen.generation.diffusion", "TextToImage"),
    OracleDataset: ("datagen.generation.oracles", "OracleGenerator"),
    StylizedDataset: ("datagen.generation.stylize", "StyleGenerator"),
}
"""Module and class, by name: a generator's networks are loaded where it runs, not where sets are planned."""


class ImageGenerator(Protocol):
    """Makes images of one data set.

    A position is a pair (label, index within the class) for a set that is drawn from prompts, and the number of a row
    of the source (from 0) for a set that is made of another's images. An image depends on the spec and its position
    alone: not on what else is asked for, in which order, or how often.
    """

    def draw(self, positions: Sequence[Any]) -> list[ImageRow]:
        """The images at `positions`, encoded, in that order."""
        ...


def generator_for(spec: DerivedDataset, device: str, source_folder: Path | None = None) -> ImageGenerator:
    """The generator of a data set.

    Args:
        spec: what to make. A new kind of set needs a line in `_GENERATORS`.
        device: "cpu", or "cuda" for the process's GPU.
        source_folder: the shards of the set that this one is made of, where it is made of one.

    Raises:
        InputError: networks or source images are missing or damaged.
    """
    module, name = _GENERATORS[type(spec)]
    generator = getattr(importlib.import_module(module), name)
    made: ImageGenerator = generator(spec, device, source_folder) if spec.made_from else generator(spec, device)
    return made

"""What a data set is: real images under a name, or images that a diffusion pipeline generates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from datagen.identity import Spec, derived_seed, identity, runtime


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec, ABC):
    """A set of labelled images in Parquet shards. `class_names` are in label order."""

    name: str = identity(help="what the set is called in tables")
    class_names: tuple[str, ...] = identity()

    @property
    @abstractmethod
    def images(self) -> int:
        """How many images the set has when whole."""


@dataclass(frozen=True, kw_only=True)
class RealDataset(DatasetSpec):
    """Images that exist already, in the folder `folder`; `digest` is its manifest's digest (64 hexadecimal digits)."""

    split: str = identity(choices=("train", "validation"))
    digest: str = identity()
    rows: int = identity(minimum=1)
    folder: Path = runtime()

    @property
    def images(self) -> int:
        """How many images the set has."""
        return self.rows


@dataclass(frozen=True, kw_only=True)
class GeneratedDataset(DatasetSpec):
    """Images that a text-to-image pipeline draws: `images_per_class` of each class, one prompt a class.

    Width and height are in pixels, guidance is classifier-free guidance's scale (1 means none; Ho and Salimans, 2021).
    """

    pipeline: str = identity(help="name of the generator")
    pipeline_digest: str = identity(help="sha256 over the generator's files")
    prompts: tuple[str, ...] = identity(help="one for each class, in label order")
    images_per_class: int = identity(minimum=1, maximum=1_000_000)
    steps: int = identity(50, minimum=1, maximum=1000)
    guidance: float = identity(2.0, minimum=0, maximum=100)
    width: int = identity(512, minimum=8, maximum=4096)
    height: int = identity(384, minimum=8, maximum=4096)
    precision: str = identity("float32", choices=("float32", "bfloat16", "float16"))
    image_format: str = identity("png", choices=("png", "jpeg"))
    jpeg_quality: int = identity(95, minimum=1, maximum=100)
    dataset_seed: int = identity(0, minimum=0)
    pipeline_folder: Path = runtime(help="where the generator's files are")
    rows_per_shard: int = runtime(128, minimum=1)
    images_at_once: int = runtime(64, minimum=1, help="images that one worker draws in a batch")

    @property
    def images(self) -> int:
        """How many images the set has when whole."""
        return self.images_per_class * len(self.class_names)

    def image_seed(self, class_name: str, index: int) -> int:
        """The seed (0..2^63-1) of one image: depends on nothing but this data set, the class and the index."""
        return derived_seed(self.fingerprint, class_name, index)

"""What a data set is: real images, images that a diffusion pipeline draws, stylized ones, or a mixture of two sets."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datagen.core.device import HALF_HELP, PRECISIONS
from datagen.core.errors import InputError
from datagen.core.identity import Spec, derived_seed, identity, runtime
from datagen.datasets.rates import Rate

SCHEDULERS = ("pipeline", "ddim", "pndm", "dpmsolver++", "euler", "lcm")


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec, ABC):
    """A set of labelled images. `class_names` are in label order.

    What a set is called is no part of what it is: the same images under another name are the same artifact.
    """

    class_names: tuple[str, ...] = identity()
    name: str = runtime("", help="what the set is called in tables: real, synthetic, validation, mixed")
    label: str = runtime("", help="what tells it from others of that name, for example guidance=7.5")

    @property
    def title(self) -> str:
        """Name and label."""
        return f"{self.name} {self.label}".strip()

    def described(self) -> dict[str, Any]:
        """The identity fields and the name, spelled out."""
        return {"name": self.name, **super().described()}

    @property
    @abstractmethod
    def images(self) -> int:
        """How many images the set has when whole."""

    @property
    def made_from(self) -> tuple[DatasetSpec, ...]:
        """The data sets that must exist before this one can be made."""
        return ()


NOT_IMPORTED = "not imported"
"""The digest of a real set that is not there yet: how many images it has is only expected."""


@dataclass(frozen=True, kw_only=True)
class RealDataset(DatasetSpec):
    """Images that exist already, in the folder `folder`; `digest` is its manifest's digest (64 hexadecimal digits).

    They are photographs, or `synthetic` where a model drew them before they were imported.
    """

    split: str = identity(choices=("train", "validation"))
    digest: str = identity()
    rows: int = identity(minimum=1)
    folder: Path = runtime()
    synthetic: bool = runtime(False, help="whether a model drew them, elsewhere")

    @property
    def images(self) -> int:
        """How many images the set has."""
        return self.rows


@dataclass(frozen=True, kw_only=True)
class DerivedDataset(DatasetSpec, ABC):
    """Images that mindgap makes and stores as shards: what all ways of making them have in common.

    Width and height are in pixels.
    """

    width: int = identity(512, minimum=8, maximum=4096)
    height: int = identity(384, minimum=8, maximum=4096)
    image_format: str = identity("png", choices=("png", "jpeg"))
    jpeg_quality: int = identity(95, minimum=1, maximum=100)
    stored_size: int = identity(
        0,
        minimum=0,
        maximum=4096,
        help="shorter side that larger images are resized to before they are stored, as an import does; 0: as made",
    )
    dataset_seed: int = identity(0, minimum=0)
    rows_per_shard: int = runtime(128, minimum=1)
    images_at_once: int = runtime(64, minimum=1, help="images that one worker makes in a batch")
    rate: Rate | None = runtime(None, help="how fast it is made, for estimates")

    @property
    @abstractmethod
    def weights(self) -> tuple[Path, ...]:
        """The folders of weights, styles and other files that must be there to make it."""

    @property
    def work(self) -> float:
        """What making it takes, in the units that its rate counts: images, unless a kind of set says otherwise."""
        return float(self.images)

    @property
    def seconds(self) -> float | None:
        """Seconds to make it whole on one GPU or core, at its rate; None where no rate is known.

        The rate is of the recipe's way: `compile`, a `deepcache_interval` above 1 and float8 weights make this an upper
        bound.
        """
        return None if self.rate is None else self.work / self.rate.per_second

    def without_effect(self) -> dict[str, str]:
        """JPEG's quality, of PNGs."""
        return {} if self.image_format == "jpeg" else {"jpeg_quality": f"image_format is {self.image_format}"}

    def image_seed(self, class_name: str, index: int) -> int:
        """The seed (0..2^63-1) of one image: depends on nothing but this data set, the class and the index."""
        return derived_seed(self.fingerprint, class_name, index)


@dataclass(frozen=True, kw_only=True)
class DiffusionDataset(DerivedDataset, ABC):
    """Images from a diffusion pipeline of `diffusers`, whose class its `model_index.json` names.

    Guidance is classifier-free guidance's scale (up to 1 means none; Ho and Salimans, 2021). A `scheduler` other than
    "pipeline" replaces the pipeline's own. An adapter is a LoRA, fused into the pipeline's weights.

    Fewer `steps`, another `scheduler`, a `deepcache_interval` above 1 and `denoiser_weights` "float8" are faster or
    smaller and change the images (`datagen.generation.variants`): they make another data set.

    Raises:
        InputError: settings of the denoiser do not go together.
    """

    pipeline: str = identity(help="name of the generator")
    pipeline_digest: str = identity(help="sha256 over the generator's files")
    adapter: str = identity("", help="name of a LoRA, or nothing")
    adapter_digest: str = identity("", help="sha256 over the adapter's file")
    steps: int = identity(50, minimum=1, maximum=1000)
    guidance: float = identity(2.0, minimum=0, maximum=100)
    scheduler: str = identity("pipeline", choices=SCHEDULERS)
    precision: str = identity("float32", choices=PRECISIONS, help=HALF_HELP)
    deepcache_interval: int = identity(
        1, minimum=1, maximum=1000, help="the denoiser's deep features are computed every so many steps (DeepCache)"
    )
    denoiser_weights: str = identity(
        "precision", choices=("precision", "float8"), help="float8: rounded and kept so, computed with in precision"
    )
    pipeline_arguments: str = identity(
        "", help='further arguments of the pipeline, as JSON: {"max_sequence_length": 128}'
    )
    pipeline_folder: Path = runtime(help="where the generator's files are")
    adapter_folder: Path | None = runtime(None, help="where the adapter's safetensors file is")
    compile: bool | None = runtime(
        None, help="torch.compile denoiser and decoder; by default on a GPU, for sets so large that it pays"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "pipeline_arguments", _as_json_object(self.pipeline_arguments))
        if self.deepcache_interval > self.denoising_steps:
            raise InputError(
                f"deepcache_interval must be at most {self.denoising_steps}, the steps that are taken, "
                f"not {self.deepcache_interval}."
            )
        if self.compile and self.denoiser_weights == "float8":
            # diffusers' cast breaks the graph at every layer, and torch.compile gives up after eight.
            raise InputError("compile=true does not go with denoiser_weights=float8. Leave one of them out.")

    @property
    def denoising_steps(self) -> int:
        """The steps that the denoiser takes for an image."""
        return self.steps

    @property
    def work(self) -> float:
        """Steps of the denoiser for one image each; guidance takes two a step."""
        return float(self.images * self.denoising_steps * (2 if self.guidance > 1 else 1))

    @property
    def weights(self) -> tuple[Path, ...]:
        """The folders of the pipeline and of the adapter."""
        return (self.pipeline_folder, *([self.adapter_folder] if self.adapter_folder else []))

    @abstractmethod
    def prompt(self, label: int, index: int) -> str:
        """The prompt of image `index` of a class."""


def _as_json_object(text: str) -> str:
    """The arguments in one spelling, which two ways to write them share."""
    if not text:
        return ""
    try:
        arguments = json.loads(text)
        if not isinstance(arguments, dict):
            raise ValueError("it is no object")
        return json.dumps(arguments, sort_keys=True, allow_nan=False) if arguments else ""
    except ValueError as error:
        raise InputError(
            f'pipeline_arguments must be a JSON object, as {{"max_sequence_length": 128}} is, not {text!r}: {error}.'
        ) from None


@dataclass(frozen=True, kw_only=True)
class GeneratedDataset(DiffusionDataset):
    """Images that a text-to-image pipeline draws: `images_per_class` of each class.

    A class has one prompt or several; its image number i is drawn from prompt i modulo their number.
    """

    prompts: tuple[tuple[str, ...], ...] = identity(help="of each class, in label order")
    images_per_class: int = identity(minimum=1, maximum=1_000_000)
    long_prompts: str = identity(
        "refuse", choices=("refuse", "truncate"), help="prompts with more tokens than the text encoder takes"
    )

    @property
    def images(self) -> int:
        """How many images the set has when whole."""
        return self.images_per_class * len(self.class_names)

    def prompt(self, label: int, index: int) -> str:
        """The prompt of image `index` of a class."""
        prompts = self.prompts[label]
        return prompts[index % len(prompts)]


@dataclass(frozen=True, kw_only=True)
class OracleDataset(DiffusionDataset):
    """One image for each image of another set, which conditions it: an oracle prompt (Mind the Gap, Table 4).

    By "unclip" the CLIP embedding of the source image conditions the pipeline (StableUnCLIPImg2ImgPipeline), noised at
    `noise_level`; by "image_to_image" the source image is noised up to `strength` of the schedule and denoised under
    the class's prompt (SDEdit; Meng et al., 2022).
    """

    source: DatasetSpec = identity(help="the set whose images condition these")
    method: str = identity(choices=("unclip", "image_to_image"))
    noise_level: int = identity(0, minimum=0, maximum=999)
    strength: float = identity(0.7, above=0, maximum=1)
    prompts: tuple[tuple[str, ...], ...] = identity((), help="of each class, for image_to_image")

    def without_effect(self) -> dict[str, str]:
        """What only the other method takes."""
        idle = "strength" if self.method == "unclip" else "noise_level"
        return {**super().without_effect(), idle: f"method is {self.method}"}

    @property
    def denoising_steps(self) -> int:
        """The steps that the denoiser takes for an image: by image_to_image only those from `strength` on."""
        return max(1, int(self.steps * self.strength)) if self.method == "image_to_image" else self.steps

    @property
    def images(self) -> int:
        """As many as the source has."""
        return self.source.images

    def prompt(self, label: int, index: int) -> str:
        """The prompt of image `index` of a class; none, the empty text, where the spec has no prompts."""
        if not self.prompts:
            return ""
        prompts = self.prompts[label]
        return prompts[index % len(prompts)]

    @property
    def made_from(self) -> tuple[DatasetSpec, ...]:
        """The source."""
        return (self.source,)


@dataclass(frozen=True, kw_only=True)
class StylizedDataset(DerivedDataset):
    """Another set's images in the style of paintings, by AdaIN (Huang and Belongie, 2017; Mind the Gap, Table 3).

    Each image takes one style picture, drawn from its seed; `alpha` is the share of the style's statistics.
    """

    VERSION = 2
    """2: style pictures are resized as the reference does, by Lanczos' filter; bicubic before."""

    content: DatasetSpec = identity(help="the set whose images are stylized")
    network: str = identity(help="name of encoder and decoder")
    network_digest: str = identity(help="sha256 over their files")
    styles: str = identity(help="name of the style pictures")
    styles_digest: str = identity(help="sha256 over them")
    alpha: float = identity(1.0, minimum=0, maximum=1)
    style_size: int = identity(
        0, minimum=0, maximum=4096, help="side of the square of a style picture, pixels; 0: the images' longer side"
    )
    precision: str = identity("float32", choices=PRECISIONS, help="of the networks; statistics are float32")
    network_folder: Path = runtime()
    styles_folder: Path = runtime()

    @property
    def images(self) -> int:
        """As many as the content has."""
        return self.content.images

    @property
    def made_from(self) -> tuple[DatasetSpec, ...]:
        """The content."""
        return (self.content,)

    @property
    def weights(self) -> tuple[Path, ...]:
        """The folders of the network and of the style pictures."""
        return (self.network_folder, self.styles_folder)

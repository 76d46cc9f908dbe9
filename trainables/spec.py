"""What a trained model is: data, network, recipe, and how much of it was taken over frozen from which base."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from datagen.errors import InputError
from datagen.identity import Spec, fingerprint_of, identity, runtime
from datagen.spec import DatasetSpec
from trainables.layers import LAYERS, layer_count

VIEWS = ("none", "autoaugment", "pytorch_example", "augmix", "pixmix", "dino_multicrop")


@dataclass(frozen=True, kw_only=True)
class TrainingSpec(Spec):
    """One training.

    Without a `source` it starts from scratch; with one, its first `frozen_layers` layers are the source's, frozen, and
    the layers above start anew.

    Raises:
        InputError: a field is out of range, or freeze depth and source do not go together.
    """

    train: DatasetSpec = identity()
    validation: DatasetSpec = identity()
    source: TrainingSpec | None = identity(None, help="the base whose first layers are taken over")
    frozen_layers: int = identity(0, minimum=0, help="N: how many layers are taken over and frozen")
    fraction: float = identity(1.0, above=0, maximum=1, help="share of the training images")
    fraction_sampling: str = identity(
        "balanced",
        choices=("balanced", "random"),
        help="balanced: the same share of each class; random: of all images, as the papers may have; both nested",
    )
    normalization: str = identity(
        "imagenet",
        choices=("imagenet", "exact", "batchnorm_train"),
        help="exact: each data set by its own statistics; batchnorm_train: BatchNorm by the evaluation batch",
    )
    model: str = identity("resnet50", help="a network of trainables.layers.LAYERS")
    head: str = identity("cosine", choices=("cosine", "linear"))
    temperature: float = identity(0.1, above=0, help="of the cosine classifier")
    views: str = identity("pytorch_example", choices=VIEWS, help="augmentation of the training images")
    image_size: int = identity(224, minimum=8, help="side of the square the network sees, pixels")
    local_size: int = identity(96, minimum=8, help="side of dino_multicrop's local crops, pixels")
    local_crops: int = identity(8, minimum=0, help="how many of them")
    minimum_crop: float = identity(0.08, above=0, maximum=1, help="smallest share of the area a random crop keeps")
    frozen_batchnorm: str = identity(
        "eval",
        choices=("eval", "train"),
        help="eval: frozen BatchNorm keeps its stored statistics; train: it uses the batch's, and its own drift",
    )
    epochs: int = identity(100, minimum=1)
    batch_size: int = identity(256, minimum=1, help="images a step, over all workers")
    learning_rate: float = identity(0.1, above=0, help="peak rate for a batch of 256; scales with the batch")
    final_learning_rate: float = identity(1e-6, minimum=0)
    warmup_epochs: int = identity(10, minimum=0)
    precision: str = identity(
        "float32", choices=("float32", "bfloat16", "float16"), help="of the network's arithmetic; weights are float32"
    )
    momentum: float = identity(0.9, minimum=0, maximum=1)
    weight_decay: float = identity(1e-4, minimum=0, help="of parameters with more than one dimension")
    decay_attention_biases: bool = identity(True, help="TinyViT's are matrices: t-ReX's rule decays them, timm's not")
    seed: int = identity(0, minimum=0)
    initial_weights: str = identity("", help="sha256 of weights that all layers but the head start from, or nothing")
    initial_weights_file: Path | None = runtime(None, help="the safetensors file that holds them, with timm's names")
    label: str = runtime("", help="what tells the training from its neighbours, for example augmix")
    workers: int = runtime(1, minimum=1, help="data-parallel workers of one training")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model not in LAYERS:
            raise InputError(f"model must be one of {', '.join(LAYERS)}, not {self.model!r}.")
        head = layer_count(self.model)
        if self.frozen_layers > head:
            raise InputError(
                f"frozen_layers must be from 0 (train all) to {head - 1} (train the head only) or {head} "
                f"(evaluate only) for {self.model}, not {self.frozen_layers}."
            )
        if (self.source is None) != (self.frozen_layers == 0):
            raise InputError("frozen_layers above 0 needs a source to take the layers from, and 0 takes none.")
        if self.source is not None and self.source.model != self.model:
            raise InputError(f"The source is a {self.source.model}; its layers do not fit a {self.model}.")
        if self.warmup_epochs >= self.epochs:
            raise InputError(f"warmup_epochs ({self.warmup_epochs}) must be less than epochs ({self.epochs}).")

    @cached_property
    def cohort(self) -> str:
        """Fingerprint of everything but the freeze depth: trainings that share it may train side by side."""
        values = self.canonical()
        values["frozen_layers"] = "any" if self.source else 0
        return fingerprint_of(values)

    @property
    def train_images(self) -> int:
        """Images of one epoch: the fraction (of each class, if balanced), rounded, at least one."""
        if self.fraction_sampling == "random":
            return max(1, round(self.train.images * self.fraction))
        classes = len(self.train.class_names)
        return classes * max(1, round(self.train.images * self.fraction / classes))

    @property
    def direction(self) -> str:
        """The kinds of data: "synthetic->real" for a transfer, "real" for a training from scratch."""
        return f"{self.source.train.name}->{self.train.name}" if self.source else self.train.name

    @property
    def title(self) -> str:
        """A readable name, for example "synthetic->real N=16 s0"."""
        depth = f" N={self.frozen_layers}" if self.source else ""
        share = f" 1/{round(1 / self.fraction)}" if self.fraction < 1 else ""
        label = f" {self.label}" if self.label else ""
        return f"{self.direction}{depth}{share}{label} s{self.seed}"

    def at_depth(self, frozen_layers: int) -> TrainingSpec:
        """The same training at another freeze depth."""
        return replace(self, frozen_layers=frozen_layers)

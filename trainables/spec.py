"""What a trained model is: data, network, recipe, and how much of it was taken over frozen from which base.

Where the papers can be read in more than one way, the reading is a setting. Here they are with their values, the
default first, and why it is the default. P1 is Mind the Gap, P2 Fine-Tuning Role, t-ReX the code that both build on.

`learning_rate_scaling`: batch, none
    The peak is 0.1 x batch / 256 in P2 (Eq. 3) and in t-ReX, where the batch is that of all GPUs together. 0.1 at a
    batch of 256 and 0.025 at 64 are both this reading, chosen by `batch_size`. "none": P1's "up to 0.1" as it stands.
`frozen_batchnorm`: eval, train
    P1 calls N = 17 linear probing, so the features are fixed. "train": P1 says that frozen parameters are not updated
    and nothing of statistics, which drift under t-ReX's `model.train()`.
`fraction_sampling`: balanced, random
    Equal shares of each class leave out a noise that is not the question. The papers draw at random, so their scales
    say "random". Both are nested: the 1/8 set lies in the 1/4 set.
`exact_statistics`: own, training
    P1 normalizes by "the respective dataset ... during both training and evaluation", and code of the same laboratory
    gives each set a norm of its own. "training": validation images by the training images'. Whole images, not crops.
`sync_batchnorm`: True, False
    t-ReX always converts, and with it a result does not depend on `workers`.
`batchnorm_evaluation_order`: shuffled, by_label
    Under `normalization=batchnorm_train`. t-ReX does not shuffle; but in label order a batch of 64 holds two or three
    classes, and statistics of those hurt, where P1 reports a gain.
`batchnorm_evaluation_epochs`: every, last
    Accuracies are means over the last five epochs, which should be of one kind. "last": as the help text of that
    laboratory's code has it, though not the code, only the last epoch is evaluated by the batch.
`batchnorm_evaluation_statistics`: kept, drifting
    An evaluation should leave no trace. "drifting": as in that code, validation batches move the running statistics,
    which changes no accuracy of this training but what transfers from the model.
`decay_attention_biases`: True, False
    TinyViT's are matrices, which t-ReX's rule decays; timm exempts them.
`head`: cosine, linear
    P1's smallest training losses lie right above the floor of a cosine head at temperature 0.1.

`jensen_shannon`: 0, 12
    The papers' loss of AugMix has no such term (`trainables.augmentations.augmix`); the reference's weight is 12.

Not settings: layers above the cut start from the network's default initialization and train for all epochs, warm-up
included (P2: "the same number of epochs").

`accumulate` is part of what a training is: BatchNorm sees a part of the batch at a time. Without BatchNorm the sum of
the parts' gradients is the batch's but for rounding (`tests/trainables/test_accumulate.py`: 1e-5 of the weights).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from datagen.core.device import HALF_HELP, PRECISIONS
from datagen.core.errors import InputError
from datagen.core.identity import Spec, fingerprint_of, identity, runtime
from datagen.core.own_code import is_own, name_of, taken
from datagen.core.wording import share_words
from datagen.datasets.spec import DatasetSpec
from trainables.direction import Direction
from trainables.models.layers import LAYERS, Layer, layers_of_network

FRACTALS = "fractals"
"""PixMix's mixing set when the user points to no pictures."""
AUGMENTATION_VERSIONS = {
    **{"none": 1, "autoaugment": 1, "pytorch_example": 1, "randaugment": 1, "trivialaugment": 1},
    # 2: shear about the corner, as the references do; fractals that fill the picture.
    **{"augmix": 2, "pixmix": 2},
    "dino_multicrop": 1,
}
"""Raised when an augmentation gives other pixels, so that no training with the old ones is taken for one with the new.

What changes the steps or the evaluation of all trainings raises `TrainingSpec.VERSION`.
"""
AUGMENTATIONS = tuple(AUGMENTATION_VERSIONS)
PAPERS_AUGMENTATIONS = ("none", "autoaugment", "pytorch_example", "augmix", "pixmix", "dino_multicrop")
"""Those of Mind the Gap, Table 2, in its order."""

OPTIMIZERS = {
    **{"sgd": 1, "nesterov": 1, "lion": 1, "rmsprop": 2, "adam": 2, "adamw": 2, "nadamw": 2, "radam": 2},
    **{"lamb": 2, "adopt": 2, "muon": 2},
}
"""Optimizers, as timm names them but for "sgd" (timm's "momentum", that is, without Nesterov's change), and how many
values each keeps of a parameter."""
_MOMENTS = ("adam", "adamw", "nadamw", "radam", "lamb", "adopt", "lion", "muon")
"""Those whose `momentum` is the first of several decays (beta1); the second is `second_momentum`."""

REFERENCE_BATCH = 256
"""Images of the batch for which `learning_rate` is the peak where it scales with the batch."""
_OF_BATCHNORM_TRAIN = (
    *("batchnorm_evaluation_order", "batchnorm_evaluation_epochs"),
    "batchnorm_evaluation_statistics",
)
_OF_STEPS = (
    *("fraction", "learning_rate", "learning_rate_scaling", "final_learning_rate"),
    *("momentum", "weight_decay"),
)
_CROPPED = ("pytorch_example", "augmix", "pixmix", "randaugment", "trivialaugment")
"""Augmentations that begin with the random crop of PyTorch's example."""
_MAY_BE_OWN = ("augmentation", "loss", "model")
_OF_TRAINING = (
    *("optimizer", "second_momentum", "schedule", "decay_epochs", "decay_rate", "weight_decay_on", "gradient_clipping"),
    *("loss", "label_smoothing", "mixup", "cutmix", "weights_average"),
    *("accumulate", "random_erasing", "gaussian_noise"),
)
"""Further settings of the steps, which a training without any has at their defaults."""
_KEPT_WITHOUT_EFFECT = {"minimum_crop", "local_size", "local_crops", *_OF_STEPS} - {"learning_rate_scaling"}
"""Settings that fingerprints hold also where they have no effect: scales set them for all of their trainings."""


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
        help="exact: by the data's statistics; batchnorm_train: BatchNorm by the evaluation batch",
    )
    exact_statistics: str = identity(
        "own",
        choices=("own", "training"),
        help="of normalization=exact: validation images by their own statistics or by the training images'",
    )
    batchnorm_evaluation_order: str = identity(
        "shuffled", choices=("shuffled", "by_label"), help="of the validation images under batchnorm_train"
    )
    batchnorm_evaluation_epochs: str = identity(
        "every", choices=("every", "last"), help="which epochs batchnorm_train evaluates by the batch"
    )
    batchnorm_evaluation_statistics: str = identity(
        "kept", choices=("kept", "drifting"), help="drifting: batchnorm_train moves BatchNorm's running statistics"
    )
    model: str = identity("resnet50", help="a network of timm's by its name, or your own as FILE.py:NAME")
    layers: tuple[str, ...] = identity(
        (), help="where to cut, each name=module module ..., the head last; else found (python -m trainables.models)"
    )
    head: str = identity("cosine", choices=("cosine", "linear"))
    temperature: float = identity(0.1, above=0, help="of the cosine classifier")
    augmentation: str = identity(
        "pytorch_example",
        choices=AUGMENTATIONS,
        own=True,
        formerly="views",
        help="what is done to the training images",
    )
    randaugment_operations: int = identity(2, minimum=1, help="of augmentation=randaugment, one after the other")
    randaugment_magnitude: int = identity(9, minimum=0, maximum=30, help="of augmentation=randaugment, for all")
    jensen_shannon: float = identity(
        0.0, minimum=0, help="of augmentation=augmix: weight of the consistency of three crops (AugMix: 12); 0: none"
    )
    random_erasing: float = identity(0.0, minimum=0, maximum=1, help="chance that a rectangle of a crop is erased")
    gaussian_noise: float = identity(
        0.0, minimum=0, maximum=1, help="standard deviation of noise on training images, of pixels in 0..1"
    )
    image_size: int = identity(224, minimum=8, help="side of the square the network sees, pixels")
    local_size: int = identity(96, minimum=8, help="side of dino_multicrop's local crops, pixels")
    local_crops: int = identity(8, minimum=0, help="how many of them")
    minimum_crop: float = identity(0.08, above=0, maximum=1, help="smallest share of the area a random crop keeps")
    mixing_pictures: str = identity(FRACTALS, help="pixmix: fractals, or the digest of a folder of pictures")
    frozen_batchnorm: str = identity(
        "eval",
        choices=("eval", "train"),
        help="eval: frozen BatchNorm keeps its stored statistics; train: it uses the batch's, and its own drift",
    )
    epochs: int = identity(100, minimum=1)
    batch_size: int = identity(256, minimum=1, help="images a step, over all workers")
    accumulate: int = identity(
        1, minimum=1, help="parts of a batch whose gradients are added, where it is larger than memory"
    )
    sync_batchnorm: bool = identity(True, help="BatchNorm over the images of all workers, not of each worker's alone")
    learning_rate: float = identity(0.1, above=0, help="peak rate, for a batch of 256 if it scales with the batch")
    learning_rate_scaling: str = identity(
        "batch", choices=("batch", "none"), help="batch: the peak is learning_rate x batch_size / 256; none: as given"
    )
    final_learning_rate: float = identity(1e-6, minimum=0)
    warmup_epochs: int = identity(10, minimum=0)
    precision: str = identity(
        "float32", choices=PRECISIONS, help=f"of the network's arithmetic; weights are float32; {HALF_HELP}"
    )
    schedule: str = identity(
        "cosine",
        choices=("cosine", "step", "constant"),
        help="of the learning rate after the warm-up, step by step; step: times decay_rate every decay_epochs",
    )
    decay_epochs: int = identity(30, minimum=1, help="of schedule=step, counted from the first epoch")
    decay_rate: float = identity(0.1, above=0, maximum=1, help="of schedule=step")
    optimizer: str = identity("sgd", choices=tuple(OPTIMIZERS), help="as in timm; sgd: with momentum, not Nesterov's")
    momentum: float = identity(0.9, minimum=0, maximum=1, help="of SGD; of Adam and its kin the first decay (beta1)")
    second_momentum: float | None = identity(
        None, minimum=0, maximum=1, help="of Adam and its kin the second decay (beta2), else the optimizer's own"
    )
    weight_decay: float = identity(1e-4, minimum=0)
    weight_decay_on: str = identity(
        "matrices", choices=("matrices", "all"), help="matrices: parameters with more than one dimension, as in t-ReX"
    )
    gradient_clipping: float = identity(0.0, minimum=0, help="largest norm of a branch's gradients; 0: none is clipped")
    loss: str = identity(
        "cross_entropy",
        choices=("cross_entropy", "binary_cross_entropy"),
        own=True,
        help="binary_cross_entropy: of each class by itself (timm's)",
    )
    label_smoothing: float = identity(0.0, minimum=0, maximum=1, help="share of the target spread over all classes")
    mixup: float = identity(0.0, minimum=0, help="alpha of Mixup, for every batch; 0: none")
    cutmix: float = identity(
        0.0, minimum=0, help="alpha of CutMix; with mixup each batch has either, half of them each"
    )
    weights_average: float = identity(
        0.0,
        minimum=0,
        maximum=1,
        help="decay by step of an average of the weights, which is evaluated and kept; 0: none",
    )
    decay_attention_biases: bool = identity(True, help="TinyViT's are matrices: t-ReX's rule decays them, timm's not")
    seed: int = identity(0, minimum=0)
    initial_weights: str = identity("", help="sha256 of weights that all layers but the head start from, or nothing")
    initial_weights_file: Path | None = runtime(None, help="the safetensors file that holds them, with timm's names")
    label: str = runtime("", help="what tells the training from its neighbours, for example augmix")
    workers: int = runtime(1, minimum=1, help="data-parallel workers of one training")
    fewest_workers: int = runtime(
        0, minimum=0, help="train with as few where there is no room for `workers`, and with more as it frees; 0: never"
    )
    compile: bool | None = runtime(
        None, help="torch.compile for training steps; by default on a GPU, for trainings so long that it pays"
    )
    prefetch: str = runtime(
        "auto", choices=("auto", "on", "off"), help="get the next batch ready in a thread; auto: on a GPU"
    )
    mixing_folder: Path | None = runtime(None, help="where the mixing pictures are")
    own_sources: tuple[str, ...] = runtime((), help="texts of the files with the user's own code")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in _MAY_BE_OWN:
            if is_own(getattr(self, name)):
                reference, sources = taken(getattr(self, name), self.own_sources)
                object.__setattr__(self, name, reference)
                object.__setattr__(self, "own_sources", sources)
        if self.layers and layers_of_network(self.model, self.layers) == LAYERS.get(self.model):
            object.__setattr__(self, "layers", ())  # Its own cut, spelled out.
        if not self.layers and self.model not in LAYERS:
            # Here alone, so that planning the papers' networks does not wait for torch.
            from trainables.models.automatic import automatic_layers

            object.__setattr__(self, "layers", automatic_layers(self.model, self.image_size, self.own_sources))
        self._check_steps()
        head = self.depth
        if self.frozen_layers > head:
            raise InputError(
                f"frozen_layers must be from 0 (train all) to {head - 1} (train the head only) or {head} "
                f"(evaluate only) for {name_of(self.model)}, not {self.frozen_layers}."
            )
        if (self.source is None) != (self.frozen_layers == 0):
            raise InputError("frozen_layers above 0 needs a source to take the layers from, and 0 takes none.")
        if self.source is not None and (self.source.model, self.source.layers) != (self.model, self.layers):
            raise InputError(
                f"The source is a {name_of(self.source.model)}; its layers do not fit a {name_of(self.model)}."
            )
        if self.initial_weights and self.source is not None:
            raise InputError("A training takes its first weights from a source or from a file, not from both.")
        if self.warmup_epochs >= self.epochs:
            raise InputError(f"warmup_epochs ({self.warmup_epochs}) must be less than epochs ({self.epochs}).")
        if self.workers > self.train_images or self.workers * self.accumulate > self.batch_size:
            parts = f" x accumulate={self.accumulate}" if self.accumulate > 1 else ""
            raise InputError(f"workers={self.workers}{parts} is more than there are images in a batch.")
        if self.fewest_workers > self.workers:
            raise InputError(f"fewest_workers={self.fewest_workers} must be at most workers={self.workers}.")
        if self.fewest_workers and self.workers > 1 and (self.mixes or not self.sync_batchnorm):
            what = "mixup and cutmix" if self.mixes else "sync_batchnorm=False"
            raise InputError(f"With {what} a result depends on how many workers there are: leave fewest_workers out.")
        if self.jensen_shannon and self.augmentation == "augmix" and self.mixes:
            raise InputError("jensen_shannon compares crops of one image: it goes with neither mixup nor cutmix.")

    def _check_steps(self) -> None:
        """Refuses what an optimizer, an average or a loss cannot take, before anything runs."""
        decays = {"momentum": self.momentum, "second_momentum": self.second_momentum or 0.0}
        for name, value in decays.items() if self.optimizer in _MOMENTS else ():
            if value >= 1:
                raise InputError(f"{name} must be below 1 with optimizer={self.optimizer}, not {value:g}.")
        if self.optimizer == "nesterov" and self.momentum == 0:
            raise InputError("optimizer=nesterov needs a momentum above 0. Without one, take optimizer=sgd.")
        if self.weights_average >= 1:
            raise InputError("weights_average must be below 1: at 1 the average stays at the first weights.")
        if self.label_smoothing >= 1:
            raise InputError("label_smoothing must be below 1: at 1 all classes are the same target.")

    def canonical(self) -> dict[str, Any]:
        """Includes the augmentation's version, the first excepted."""
        version = AUGMENTATION_VERSIONS.get(self.augmentation, 1)
        mixed_by = self.workers if self.mixes and self.workers > 1 else 1
        return {
            **super().canonical(),
            **({"augmentation_version": version} if version > 1 else {}),
            # Each worker mixes the images that it has of a batch, so that their number counts.
            **({"mixed_by": mixed_by} if mixed_by > 1 else {}),
        }

    def effective(self) -> dict[str, Any]:
        """The identity fields that depend on others.

        One worker's BatchNorm sees the whole batch, synchronized or not, so `sync_batchnorm` then changes nothing; of
        several it does, and without it their number matters too and stands in its place.
        """
        together = self.sync_batchnorm or self.workers == 1
        kept = _KEPT_WITHOUT_EFFECT - (set() if self.schedule == "cosine" else {"final_learning_rate"})
        idle = {name: value for name, value in super().effective().items() if name not in kept}
        return {**idle, "sync_batchnorm": True if together else self.workers}

    def without_effect(self) -> dict[str, str]:
        """The settings that change nothing beside the others, and why."""
        idle: dict[str, str] = {}
        augmented, normalized = f"augmentation is {self.augmentation}", f"normalization is {self.normalization}"
        for names, matter, otherwise in (
            (("temperature",), self.head == "cosine", f"head is {self.head}"),
            (("exact_statistics",), self.normalization == "exact", normalized),
            (_OF_BATCHNORM_TRAIN, self.normalization == "batchnorm_train", normalized),
            (("mixing_pictures",), self.augmentation == "pixmix", augmented),
            (("local_size", "local_crops"), self.augmentation == "dino_multicrop", augmented),
            (("minimum_crop",), self.augmentation in _CROPPED, augmented),
            (("randaugment_operations", "randaugment_magnitude"), self.augmentation == "randaugment", augmented),
            (("jensen_shannon",), self.augmentation == "augmix", augmented),
            (("frozen_batchnorm",), self.source is not None, "nothing is frozen"),
            (("fraction_sampling",), self.fraction < 1, "all images are used"),
            (("learning_rate_scaling",), self.batch_size != REFERENCE_BATCH, f"batch_size is {self.batch_size}"),
            (("decay_attention_biases",), not self.model.startswith("resnet"), f"model is {self.model}"),
            (("second_momentum",), self.optimizer in _MOMENTS, f"optimizer is {self.optimizer}"),
            (("decay_epochs", "decay_rate"), self.schedule == "step", f"schedule is {self.schedule}"),
            (("final_learning_rate",), self.schedule == "cosine", f"schedule is {self.schedule}"),
            (("weight_decay_on",), self.weight_decay > 0, "weight_decay is 0"),
            (("label_smoothing",), not is_own(self.loss), f"the loss is {name_of(self.loss)}"),
            (
                (*_OF_STEPS, *_OF_TRAINING),
                self.frozen_layers < self.depth,
                "all layers are frozen and nothing is trained",
            ),
        ):
            if not matter:
                idle |= dict.fromkeys(names, otherwise)
        return idle

    @property
    def network(self) -> tuple[Layer, ...]:
        """The layers of the network, head included."""
        return layers_of_network(self.model, self.layers)

    @property
    def depth(self) -> int:
        """How many layers the network has, head included."""
        return len(self.network)

    @cached_property
    def cohort(self) -> str:
        """Fingerprint of everything but the freeze depth: trainings that share it may train side by side."""
        values = self.canonical()
        values["frozen_layers"] = "any" if self.source else 0
        return fingerprint_of(values)

    @property
    def mixes(self) -> bool:
        """Whether images of a batch are mixed with each other."""
        return self.frozen_layers < self.depth and (self.mixup > 0 or self.cutmix > 0)

    @property
    def train_images(self) -> int:
        """Images of one epoch: the fraction (of each class, if balanced), rounded, at least one."""
        if self.fraction_sampling == "random":
            return max(1, round(self.train.images * self.fraction))
        classes = len(self.train.class_names)
        return classes * max(1, round(self.train.images * self.fraction / classes))

    @property
    def direction(self) -> Direction:
        """The kinds of data that the source and this training have seen."""
        return Direction(self.source.train.name if self.source else None, self.train.name)

    @property
    def title(self) -> str:
        """A readable name, for example "synthetic->real N=16 s0"."""
        depth = f" N={self.frozen_layers}" if self.source else ""
        share = f" {share_words(self.fraction)}" if self.fraction < 1 else ""
        label = f" {self.label}" if self.label else ""
        return f"{self.direction}{depth}{share}{label} s{self.seed}"

    def at_depth(self, frozen_layers: int) -> TrainingSpec:
        """The same training at another freeze depth."""
        return replace(self, frozen_layers=frozen_layers)

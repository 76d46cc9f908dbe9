"""Scales: the world a study is asked in. Turns a point of a study's grid into the spec of a training."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from datagen.core.digests import NOT_THERE, file_digest
from datagen.core.errors import InputError, said_of
from datagen.core.identity import Allowed, shown
from datagen.core.own_code import name_of
from datagen.core.settings import Setting, Settings, plain_name, take
from datagen.core.wording import differences, number_words, percent_words
from datagen.datasets.shards import MANIFEST, read_manifest
from datagen.datasets.spec import (
    NOT_IMPORTED,
    DatasetSpec,
    DerivedDataset,
    RealDataset,
    StylizedDataset,
)
from datagen.datasets.transformations import is_transformation
from datagen.datasets.virtual import MixedDataset, SubsetDataset, TransformedDataset, UnionDataset, is_known
from datagen.importing.from_hub import HubSource
from datagen.recipes.recipe import DiffusionRecipe, ImportedRecipe, StyleRecipe
from datagen.recipes.settings import IMPORTED, TEXT_TO_IMAGE, named_classes, settings_of_method
from orchestrator.claims.papers import checked_data_set
from orchestrator.evaluation.sets import checked_evaluations, imported_evaluation, is_imported
from orchestrator.provisions import Pretrained, Rates
from orchestrator.recipes import training_recipe
from orchestrator.settings import (
    DATA_CHOICES,
    DEFAULT_GENERATOR,
    DIRECTION,
    GENERATION,
    GENERATION_OF_POINT,
    RECIPE,
    START,
    TRAINING,
)
from trainables.direction import MIXED, REAL, SYNTHETIC, UNION, Direction
from trainables.spec import TrainingSpec

TRANSFER_ONLY = ("frozen_layers", "fraction")
"""Settings of a transfer that its base does not share: a base has nothing frozen and sees all its images."""
SPLITS = ("train", "validation")
DATASET_SEED = "dataset_seed"
HELD_OUT_SEED = 2**31 - 1
"""Of synthetic images to evaluate on: no seed of a study's comes near."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Real data, generators, network and recipe.

    Attributes:
        name: as given to `--scale`.
        summary: one sentence for readers of a report.
        classes: (class name, WordNet id) in label order; the prompts are made of them.
        images: folder with a data set in `train/` and one in `validation/`.
        generators: how synthetic images are drawn, or where those are that exist, by name; "default" unless a study
            asks for another.
        recipe: settings of `TrainingSpec`.
        rates: for cost estimates.
        style: how images are stylized, if they can be.
        pretrained: weights of other data that the network may start from, if there are any.
        expected_images: how many images each split has, for a plan before they are imported.
        hub: where the hub has the real images.
        import_hint: how to get the real images otherwise.
        published: the data set's name in the papers' tables, if it is one of theirs.
        generation: settings of all generated sets; they replace the generators' own.
        chosen: settings that were given with the command; they replace a recipe's.
        evaluations: further sets that every training is evaluated on, by their words (`evaluation_sets`).
        evaluations_if_there: likewise, of imported sets that the user may have.
        measures: whether sets of synthetic images are measured against the real ones; None: three sets or more are.
        classes_from_images: whether classes, and the scale's name, are those of the imported images, once they are
            there.

    Raises:
        InputError: a setting is unknown or a value is not allowed, there is no default generator, or classes are none.
    """

    name: str
    summary: str
    classes: tuple[tuple[str, str], ...]
    images: Path
    generators: Mapping[str, DiffusionRecipe | ImportedRecipe]
    recipe: Mapping[str, Any]
    rates: Rates
    style: StyleRecipe | None = None
    pretrained: Pretrained | None = None
    expected_images: Mapping[str, int] = field(default_factory=lambda: {"train": 1, "validation": 1})
    hub: HubSource | None = None
    import_hint: str = ""
    published: str | None = None
    generation: Mapping[str, Any] = field(default_factory=dict)
    chosen: Mapping[str, Any] = field(default_factory=dict)
    evaluations: tuple[str, ...] = ()
    evaluations_if_there: tuple[str, ...] = ()
    measures: bool | None = None
    classes_from_images: bool = False
    _made: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        with said_of(f"The scale {self.name}" if isinstance(self.name, str) else "The scale"):
            take(self, _SCALE)
            if self.classes_from_images:
                self._take_classes()
            checked_data_set(self.published)
            for name, check in _PARTS.items():
                with said_of(name):
                    object.__setattr__(self, name, check(getattr(self, name)))

    def _take_classes(self) -> None:
        folder = self.images / SPLITS[0]
        if not (folder / MANIFEST).exists():
            return
        manifest = read_manifest(folder)
        wordnet_ids = manifest.description.get("wordnet_ids") or [""] * len(manifest.class_names)
        object.__setattr__(self, "classes", tuple(zip(manifest.class_names, wordnet_ids, strict=True)))
        object.__setattr__(self, "name", plain_name(self.images.name.replace(" ", "_")))

    def with_settings(self, generation: Mapping[str, Any], recipe: Mapping[str, Any]) -> Scale:
        """The same scale with some settings replaced.

        Raises:
            InputError: a setting of generated images is given where all images exist already.
        """
        default = self.generators[DEFAULT_GENERATOR]
        if generation and isinstance(default, ImportedRecipe):
            key = next(iter(generation))
            raise InputError(f"{key} cannot be chosen: the synthetic images in {default.folder} exist already.")
        return replace(
            self,
            generation={**self.generation, **generation},
            recipe={**self.recipe, **recipe},
            chosen={**self.chosen, **recipe},
        )

    def with_folders(
        self, images: Path | None = None, generator: Path | None = None, synthetic: Path | None = None
    ) -> Scale:
        """The same scale with some of its images elsewhere.

        Args:
            images: its real images, a folder with `train/` and `validation/`.
            generator: the pipeline of its default generator.
            synthetic: synthetic images that exist, in place of its default generator.

        Raises:
            InputError: a pipeline is given for images that exist.
        """
        default = self.generators[DEFAULT_GENERATOR]
        if generator is not None and isinstance(default, ImportedRecipe):
            raise InputError(
                f"pipeline={generator} has no effect: the synthetic images in {default.folder} exist already."
            )
        if isinstance(default, DiffusionRecipe) and generator is not None:
            default = replace(default, pipeline=generator)
        if synthetic is not None:
            hint = "Import them: python -m datagen.import_images --name NAME --train DIR."
            default = ImportedRecipe(label=synthetic.name, folder=synthetic, hint=hint)
        return replace(self, images=images or self.images, generators={**self.generators, DEFAULT_GENERATOR: default})

    def how_to_get(self, spec: DatasetSpec) -> str:
        """A sentence that says what is missing for a data set that mindgap cannot make yet, and how to get it."""
        if isinstance(spec, RealDataset) and spec.synthetic:
            there = [recipe for recipe in self.generators.values() if isinstance(recipe, ImportedRecipe)]
            hint = next((recipe.hint for recipe in there if recipe.folder in (spec.folder, spec.folder.parent)), "")
            return f"The synthetic images are not in {spec.folder}. {hint}".strip()
        if not isinstance(spec, DerivedDataset):
            hint = f"{self.hub.how_to_get} {self.import_hint}" if self.hub else self.import_hint
            return f"The real images are not in {self.images}. {hint}".strip()
        absent = next((folder for folder in spec.weights if not folder.is_dir()), spec.weights[0])
        drawing = [recipe for recipe in self.generators.values() if isinstance(recipe, DiffusionRecipe)]
        hint = next((recipe.how_to_get for recipe in drawing if absent in (recipe.pipeline, recipe.adapter)), "")
        if self.style and isinstance(spec, StylizedDataset):
            hint = self.style.hint
        kind = "style network or pictures" if isinstance(spec, StylizedDataset) else "diffusion pipeline"
        return f"There is no {kind} in {absent}. {hint}".strip()

    def how_to_get_weights(self) -> str:
        """A sentence that says what pretrained weights are missing, and how to get them."""
        assert self.pretrained is not None
        return f"There are no pretrained weights in {self.pretrained.file}. {self.pretrained.how_to_get}"

    def unsupported(self, point: Mapping[str, Any]) -> str | None:
        """Why a point cannot be asked in this scale, a phrase; None if it can."""
        if (generator := point.get("generator", DEFAULT_GENERATOR)) not in self.generators:
            return f"the scale {self.name} has no generator {generator!r}"
        recipe = self.generators[generator]
        chosen = [key for key in point if key in GENERATION_OF_POINT]
        if isinstance(recipe, ImportedRecipe) and chosen:
            return f"the images of {recipe.label} exist already, so their {chosen[0]} cannot be chosen"
        if point.get("stylized") and self.style is None:
            return f"the scale {self.name} does not say how to stylize"
        if point.get(START) == "pretrained" and self.pretrained is None:
            return f"the scale {self.name} has no pretrained weights"
        if reason := self._too_few_images(point):
            return reason
        if "_c" in point.get("prompt_style", "") and not all(wordnet_id for _, wordnet_id in self.classes):
            return f"the classes of {self.name} are not in WordNet, so they have no {point['prompt_style']!r}"
        return None

    def _too_few_images(self, point: Mapping[str, Any]) -> str | None:
        if "per_class" not in point:
            return None
        wanted = point["per_class"] * len(self.classes)
        direction = Direction.parse(point[DIRECTION])
        both = {direction.source, direction.target} & {MIXED, UNION}
        choices = {key: value for key, value in point.items() if key in DATA_CHOICES or key in GENERATION_OF_POINT}
        choices.pop("per_class", None)
        for kind in (REAL, SYNTHETIC):
            if both or kind in (direction.source, direction.target):
                whole = self.dataset(kind, choices)
                if wanted > whole.images and is_known(whole):
                    return f"there are not {point['per_class']} {kind} images of each class"
        return None

    def dataset(self, kind: str, choices: Mapping[str, Any] | None = None) -> DatasetSpec:
        """A data set.

        Args:
            kind: "real" or "synthetic" training images, a "mixed" set or the "union" of both, or the real "validation"
                images.
            choices: "generator", "stylized", "real_share", "per_class", and settings of generated sets; what does not
                concern the kind is left aside.

        Raises:
            InputError: a setting is out of range.
        """
        choices = dict(choices or {})
        key = (kind, *sorted(choices.items()))
        if key not in self._made:
            self._made[key] = self._dataset(kind, choices)
        made: DatasetSpec = self._made[key]
        return made

    def evaluation_sets(self) -> list[tuple[DatasetSpec, tuple[int, ...]]]:
        """The sets of `evaluations`, with the label of each of their classes here, where theirs differ.

        "noise:3" and the like are the validation images, changed; "synthetic" new images of the default generator;
        anything else is a folder, or the name under which one was imported.

        Raises:
            InputError: there is no such set, or it shares no class with the scale.
        """
        if "evaluations" not in self._made:
            there = [word for word in self.evaluations_if_there if is_imported(word)]
            words = dict.fromkeys((*self.evaluations, *there))
            self._made["evaluations"] = [self._evaluation_set(word) for word in words]
        found: list[tuple[DatasetSpec, tuple[int, ...]]] = self._made["evaluations"]
        return found

    def _evaluation_set(self, word: str) -> tuple[DatasetSpec, tuple[int, ...]]:
        validation = self.dataset("validation")
        if word == "validation":
            return validation, ()
        if word == SYNTHETIC:
            default = self.generators[DEFAULT_GENERATOR]
            if isinstance(default, ImportedRecipe) or default.method != TEXT_TO_IMAGE:
                raise InputError("evaluations=synthetic needs a generator that draws from prompts. Name a folder.")
            count = max(1, validation.images // len(self.classes))
            made = self.dataset(SYNTHETIC, {DATASET_SEED: HELD_OUT_SEED, "images_per_class": count})
            return replace(made, name="synthetic", label="held out"), ()
        if is_transformation(word):
            names = validation.class_names
            return TransformedDataset(name=word, class_names=names, whole=validation, transformation=word), ()
        return imported_evaluation(word, self.classes)

    def training(
        self, point: Mapping[str, Any], seed: int, transfer_only: Collection[str] = TRANSFER_ONLY
    ) -> TrainingSpec:
        """The training at a point of a grid.

        Args:
            point: "direction" (a `Direction` or its text), and any of `DATA_CHOICES`, of the settings of generated sets
                and of `TrainingSpec`; these replace the recipe's.
            seed: of the training, and of its source.
            transfer_only: settings of a transfer that its source does not share.

        Raises:
            InputError: the direction is none.
        """
        settings = {key: value for key, value in point.items() if key in TRAINING}
        if RECIPE in point:
            settings = {**training_recipe(point[RECIPE]), **self.chosen, **settings}
        choices = {key: value for key, value in point.items() if key in DATA_CHOICES or key in GENERATION_OF_POINT}
        if point.get(START) == "pretrained" and self.pretrained is not None:
            file = self.pretrained.file
            settings |= {"initial_weights": file_digest(file), "initial_weights_file": file}
        direction = Direction.parse(point["direction"])
        if direction.source is not None:
            base = {key: value for key, value in settings.items() if key not in transfer_only}
            said = {key: value for key, value in point.items() if key not in transfer_only}
            settings["source"] = self._training(direction.source, choices, base, said, seed)
        return self._training(direction.target, choices, settings, point, seed)

    def _training(
        self, kind: str, choices: Mapping[str, Any], settings: Mapping[str, Any], said: Mapping[str, Any], seed: int
    ) -> TrainingSpec:
        """A training on images of a kind; what of `said`, the point, it is labelled with."""
        train, validation = self.dataset(kind, choices), self.dataset("validation")
        label = point_label({key: value for key, value in said.items() if key not in (DIRECTION, *TRANSFER_ONLY)})
        given = ((key, id(value) if key == "source" else value) for key, value in settings.items())
        key = (train.fingerprint, seed, label, *sorted(given))
        if key not in self._made:
            fixed = {"train": train, "validation": validation, "seed": seed, "label": label}
            made = TrainingSpec(**{**self.recipe, **settings, **fixed})
            # A point's setting without effect there is left aside: two points that differ in it only are one training.
            if idle := made.without_effect().keys() & settings.keys():
                kept, named = (
                    {name: value for name, value in one.items() if name not in idle} for one in (settings, said)
                )
                made = self._training(kind, choices, kept, named, seed)
            self._made[key] = made
        spec: TrainingSpec = self._made[key]
        return spec

    def _dataset(self, kind: str, choices: Mapping[str, Any]) -> DatasetSpec:
        if kind == "validation":
            return self._real(kind)
        if kind in (MIXED, UNION):
            parts = {key: value for key, value in choices.items() if key != "real_share"}
            first, second = self.dataset(REAL, parts), self.dataset(SYNTHETIC, parts)
            both: dict[str, Any] = {"class_names": first.class_names, "first": first, "second": second}
            if kind == UNION:
                return UnionDataset(name=UNION, **both)
            share = choices.get("real_share", 0.5)
            return MixedDataset(name=MIXED, **both, share=share, label=percent_words(share))
        if "transform" in choices:
            whole = self.dataset(kind, {key: value for key, value in choices.items() if key != "transform"})
            made = {"whole": whole, "transformation": choices["transform"], "label": choices["transform"]}
            return TransformedDataset(name=kind, class_names=whole.class_names, **made)
        if "per_class" in choices:
            whole = self.dataset(kind, {key: value for key, value in choices.items() if key != "per_class"})
            count, names = choices["per_class"], whole.class_names
            if count * len(names) == whole.images:
                return whole
            return SubsetDataset(name=kind, class_names=names, whole=whole, per_class=count, label=f"{count} a class")
        if choices.get("stylized") and self.style is not None:
            content = self.dataset(kind, {key: value for key, value in choices.items() if key != "stylized"})
            return self.style.spec(kind, content, label="stylized")
        return self._synthetic(choices) if kind == SYNTHETIC else self._real(kind)

    def _real(self, kind: str) -> RealDataset:
        split = "train" if kind == REAL else kind
        expected = tuple(name for name, _ in self.classes)
        folder = self.images / split
        common: dict[str, Any] = {"name": kind, "class_names": expected, "split": split, "folder": folder}
        if not (folder / MANIFEST).exists():
            return RealDataset(**common, digest=NOT_IMPORTED, rows=self.expected_images[split])
        manifest = read_manifest(folder)
        if difference := differences(manifest.class_names, expected):
            raise InputError(f"The classes of {folder} are not those of the scale {self.name}: it {difference}.")
        return RealDataset(**common, digest=manifest.digest, rows=manifest.rows)

    def _synthetic(self, choices: Mapping[str, Any]) -> DatasetSpec:
        name = choices.get("generator", DEFAULT_GENERATOR)
        settings = {key: value for key, value in choices.items() if key in GENERATION_OF_POINT}
        label = point_label({key: value for key, value in choices.items() if key in {"generator", *settings}})
        recipe = self.generators[name]
        source = None if recipe.method in (TEXT_TO_IMAGE, IMPORTED) else self.dataset(REAL)
        # What another of the scale's generators takes, such as an oracle's strength, is left aside.
        own = settings_of_method(recipe.method)
        given = {key: value for key, value in {**self.generation, **settings}.items() if key in own}
        made = recipe.spec(SYNTHETIC, self.classes, source, label=label, **given)
        if isinstance(made, RealDataset) and made.digest == self._real(REAL).digest != NOT_THERE:
            raise InputError(
                f"The synthetic images in {made.folder} are the real ones of {self.images}. Name another folder."
            )
        return made


def point_label(values: Mapping[str, Any]) -> str:
    """What tells a point from its neighbours, for example "augmix guidance=7.5"; words stand without their key."""
    return " ".join(word for key, value in values.items() if (word := _word(key, value)))


def _word(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return key if value else ""
    if isinstance(value, str):
        return Path(value).stem if key == RECIPE else name_of(value)
    return f"{key}={number_words(value)}" if isinstance(value, float) else f"{key}={value}"


_SCALE = (
    *(Setting("name", str, meaning=plain_name), Setting("summary", str), Setting("images", Path)),
    *(Setting("rates", Rates), Setting("style", StyleRecipe | None), Setting("pretrained", Pretrained | None)),
    *(
        *(Setting("measures", bool | None), Setting("hub", HubSource | None)),
        Setting("import_hint", str),
        Setting("published", str | None),
        Setting("classes_from_images", bool),
    ),
)


def _checked_generators(generators: Any) -> dict[str, DiffusionRecipe | ImportedRecipe]:
    if not isinstance(generators, Mapping) or DEFAULT_GENERATOR not in generators:
        raise InputError(f"Generators are a dictionary with {DEFAULT_GENERATOR!r} in it, not {shown(generators)}.")
    for name, recipe in generators.items():
        known = isinstance(recipe, DiffusionRecipe | ImportedRecipe)
        if not isinstance(name, str) or plain_name(name) != name or not known:
            raise InputError(
                "A generator is a name with a DiffusionRecipe or an ImportedRecipe, not "
                f"{shown(name)} with {shown(recipe)}."
            )
    return dict(generators)


def _checked_counts(counts: Any) -> dict[str, int]:
    table = Settings({split: Setting(split, int, Allowed(minimum=1)) for split in SPLITS})
    checked = table.checked(counts)
    if absent := [split for split in SPLITS if split not in checked]:
        raise InputError(f"It does not say how many images {absent[0]} has.")
    return checked


_PARTS: Mapping[str, Callable[[Any], Any]] = {
    "classes": named_classes,
    "generators": _checked_generators,
    "expected_images": _checked_counts,
    "recipe": TRAINING.checked,
    "generation": GENERATION.checked,
    "chosen": TRAINING.checked,
    "evaluations": checked_evaluations,
    "evaluations_if_there": checked_evaluations,
}

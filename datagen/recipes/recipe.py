"""Recipes of data sets: how a set is made, written down before weights or source images are at hand.

A recipe names files and settings; its `spec` says wholly what the set is, with the digests of the files that are
there. The recipes of the papers' sets are in `experiments/datasets/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from datagen.core.digests import NOT_THERE, files_digest
from datagen.core.errors import InputError, said_of
from datagen.core.identity import Allowed, shown
from datagen.core.settings import Setting, take
from datagen.core.wording import differences
from datagen.datasets.rates import Rate
from datagen.datasets.shards import MANIFEST, read_manifest
from datagen.datasets.spec import (
    DatasetSpec,
    DerivedDataset,
    DiffusionDataset,
    GeneratedDataset,
    OracleDataset,
    RealDataset,
    StylizedDataset,
)
from datagen.hub.repository import Reference
from datagen.recipes.prompt_styles import class_prompts
from datagen.recipes.settings import IMPORTED, METHODS, PROMPT_STYLE, STYLED, TEXT_TO_IMAGE, settings_of_method

SPLIT = "train"
_DEFAULTS = {known.name: known.default for known in fields(DerivedDataset)}
_HINT_AND_RATE = (Setting("hint", str), Setting("rate", Rate | None))
_DIFFUSION = (
    *(Setting("label", str), Setting("method", str, Allowed(choices=METHODS))),
    *(Setting("pipeline", Path), Setting("adapter", Path | None), Setting("hub", str), Setting("adapter_hub", str)),
    Setting("hub_bytes", int, Allowed(minimum=0)),
    *(PROMPT_STYLE, Setting("prompts_file", Path | None), *_HINT_AND_RATE),
)
_IMPORTED = (
    *(Setting("label", str), Setting("folder", Path), Setting("hint", str)),
    Setting("expected_images", int, Allowed(minimum=1)),
)
_STYLE = (Setting("network", Path), Setting("styles", Path), *_HINT_AND_RATE)


@dataclass(frozen=True, kw_only=True)
class DiffusionRecipe:
    """A set that a diffusion pipeline draws.

    Attributes:
        label: the generator's name for readers, for example "Stable Diffusion 1.4".
        method: "text_to_image", or one of `OracleDataset.method`.
        pipeline: folder of the pipeline, in the layout of `diffusers`, weights as safetensors.
        hub: where the hub has it, as OWNER/NAME or OWNER/NAME@REVISION; "": it does not.
        hub_bytes: how much of pipeline and adapter there is to fetch, about, for a plan; 0: not known.
        hint: how to get it otherwise, a sentence.
        adapter: folder of a LoRA, if one is used.
        adapter_hub: where the hub has the LoRA.
        prompt_style: as `datagen.recipes.prompt_styles.class_prompts` takes it.
        prompts_file: a CSV file of prompts (columns class, prompt) instead of a style.
        rate: steps of the denoiser a second for one image of the size that `settings` say; None where nobody knows.
        settings: fields of `GeneratedDataset` or `OracleDataset`.

    Raises:
        InputError: a setting is unknown for the method, or a value is not allowed.
    """

    label: str
    pipeline: Path
    hub: str = ""
    hub_bytes: int = 0
    hint: str = ""
    method: str = TEXT_TO_IMAGE
    adapter: Path | None = None
    adapter_hub: str = ""
    prompt_style: str = "c, d_c"
    prompts_file: Path | None = None
    rate: Rate | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with said_of(f"The recipe {shown(self.label)}"):
            take(self, _DIFFUSION)
            object.__setattr__(self, "settings", settings_of_method(self.method).checked(self.settings))
            for name in filter(None, (self.hub, self.adapter_hub)):
                Reference.parse(name)

    @property
    def on_the_hub(self) -> dict[Path, str]:
        """The folders of pipeline and adapter that are not there, and where the hub has what belongs in them."""
        places = ((self.pipeline, self.hub), (self.adapter, self.adapter_hub))
        return {folder: name for folder, name in places if folder is not None and name and not folder.is_dir()}

    @property
    def how_to_get(self) -> str:
        """A sentence that says how to get what is not there; "" where nobody has said."""
        commands = [f"python -m datagen.fetch {name}" for name in self.on_the_hub.values()]
        return f"Fetch it: {' and '.join(commands)}; or give --yes. {self.hint}".strip() if commands else self.hint

    def spec(
        self,
        name: str,
        classes: Sequence[tuple[str, str]],
        source: DatasetSpec | None = None,
        **settings: Any,
    ) -> DiffusionDataset:
        """The set's spec.

        Args:
            name: of the set, in tables.
            classes: (class name, WordNet id) in label order.
            source: the images that condition the pipeline, for methods that need them.
            settings: replace those of the recipe; "prompt_style" is one, and replaces a file of prompts too.

        Raises:
            InputError: a setting is unknown or out of range, or a class has no prompt in that style.
        """
        values = _with_rate(self.rate, self.settings, settings)
        style = values.pop("prompt_style", self.prompt_style)
        prompts_file = self.prompts_file if "prompt_style" not in settings else None
        files: dict[str, Any] = {
            "name": name,
            "class_names": tuple(class_name for class_name, _ in classes),
            "pipeline": self.pipeline.name,
            "pipeline_digest": _digest(self.pipeline),
            "pipeline_folder": self.pipeline,
            "prompts": class_prompts(classes, style, prompts_file),
        }
        if self.adapter is not None:
            files |= {
                "adapter": self.adapter.name,
                "adapter_digest": _digest(self.adapter),
                "adapter_folder": self.adapter,
            }
        if self.method == TEXT_TO_IMAGE:
            return GeneratedDataset(**files, **values)
        if source is None:
            raise InputError(f"{self.label} draws an image for each of another set; name the set of source images.")
        values.pop("images_per_class", None)  # As many as the source has.
        return OracleDataset(**files, **values, source=source, method=self.method)


@dataclass(frozen=True, kw_only=True)
class ImportedRecipe:
    """A set of synthetic images that exist already, wherever they come from: imported, or made by another recipe.

    Attributes:
        label: their generator's name for readers, for example "FLUX.1-dev".
        folder: a data set with a manifest, or what `datagen.import_images` has written, with the set in `train/`.
        hint: how to get it, a sentence.
        expected_images: how many there will be, for a plan before they are imported.

    Raises:
        InputError: a value is not allowed.
    """

    method: ClassVar[str] = IMPORTED

    label: str
    folder: Path
    hint: str = ""
    expected_images: int = 1

    def __post_init__(self) -> None:
        with said_of(f"The recipe {shown(self.label)}"):
            take(self, _IMPORTED)

    @property
    def how_to_get(self) -> str:
        """A sentence that says how to get it."""
        return self.hint

    def spec(
        self, name: str, classes: Sequence[tuple[str, str]], source: DatasetSpec | None = None, label: str = ""
    ) -> RealDataset:
        """The set's spec.

        Args:
            name: of the set, in tables.
            classes: (class name, WordNet id) in label order.
            source: is not needed.
            label: what tells it from others of that name.

        Raises:
            InputError: the set has other classes; the sentence says which.
        """
        folder = self.folder if (self.folder / MANIFEST).exists() else self.folder / SPLIT
        names = tuple(class_name for class_name, _ in classes)
        digest, images = NOT_THERE, self.expected_images
        if (folder / MANIFEST).exists():
            manifest = read_manifest(folder)
            digest, images = manifest.digest, manifest.rows
            if difference := differences(manifest.class_names, names):
                raise InputError(
                    f"The classes of the synthetic images in {folder} are not those of the real ones: it {difference}. "
                    "Import them with the same class folders."
                )
        return RealDataset(
            name=name,
            label=label,
            class_names=names,
            split=SPLIT,
            digest=digest,
            rows=images,
            folder=folder,
            synthetic=True,
        )


@dataclass(frozen=True, kw_only=True)
class StyleRecipe:
    """A set made of another by style transfer.

    Attributes:
        network: folder of `encoder.safetensors` and `decoder.safetensors`, or the published `.pth` files.
        styles: folder of style pictures.
        hint: how to get both, a sentence.
        rate: images stylized a second, of the size that `settings` say; None where nobody knows.
        settings: fields of `StylizedDataset`.

    Raises:
        InputError: a setting is unknown, or a value is not allowed.
    """

    network: Path
    styles: Path
    hint: str = ""
    rate: Rate | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with said_of("The recipe of styles"):
            take(self, _STYLE)
            object.__setattr__(self, "settings", STYLED.checked(self.settings))

    @property
    def how_to_get(self) -> str:
        """A sentence that says how to get network and pictures."""
        return self.hint

    def spec(self, name: str, content: DatasetSpec, **settings: Any) -> StylizedDataset:
        """The spec of `content` in the style of the pictures; `settings` replace those of the recipe."""
        return StylizedDataset(
            name=name,
            class_names=content.class_names,
            content=content,
            network=self.network.name,
            network_digest=_digest(self.network),
            network_folder=self.network,
            styles=self.styles.name,
            styles_digest=_digest(self.styles),
            styles_folder=self.styles,
            **_with_rate(self.rate, self.settings, settings),
        )


def _with_rate(rate: Rate | None, own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in force, with the recipe's rate at the size of the images."""
    values = {**own, **given}
    sizes = [_side(own, "width") * _side(own, "height"), _side(values, "width") * _side(values, "height")]
    return {**values, "rate": rate.at(*sizes) if rate and min(sizes) > 0 else rate}


def _side(settings: Mapping[str, Any], name: str) -> int:
    side = settings.get(name, _DEFAULTS[name])
    return side if isinstance(side, int) else 0  # The spec itself refuses what is no number.


def _digest(folder: Path) -> str:
    return files_digest(folder) if folder.is_dir() else NOT_THERE

"""What a scale says of the world around it: how fast devices are, and where weights of other data are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from datagen.core.errors import said_of
from datagen.core.identity import Allowed
from datagen.core.settings import Setting, take

DEVICES = ("core", "GPU")
GPU_CLASSES = {
    "8 GB (RTX 4060)": 0.2,
    "12 GB (RTX 3060)": 0.2,
    "24 GB (RTX 3090)": 0.5,
    "80 GB (A100)": 1.0,
}
"""Kinds of cards, and how fast they are beside an A100: guesses, by their published rates of 16-bit arithmetic and of
ResNet-50; nothing here was measured on one."""


@dataclass(frozen=True)
class Rates:
    """Measured speeds of training, for estimates: of one core or GPU. Making a data set has its recipe's own rate.

    Attributes:
        trained: views a second of a training of the whole network, forward, backward and step.
        prepared: images a second through decoding and views.
        startup: seconds until the first task begins.
        machine: where they were measured.
        made: how many times as fast as their recipes' rates data sets are made here, as far as that is known.
        device: one of `DEVICES`: what the rates are of.

    Raises:
        InputError: a speed is no number above 0.
    """

    trained: float
    prepared: float
    startup: float
    machine: str
    made: float = 1.0
    device: str = "core"

    def __post_init__(self) -> None:
        with said_of("The rates"):
            take(self, _RATES)


@dataclass(frozen=True)
class Pretrained:
    """Weights that a training may start from: a safetensors file with timm's names, and where it is from.

    Attributes:
        file: where it is, or will be.
        hint: how to get it otherwise, a sentence.
        hub: where the hub has it, OWNER/NAME: fetched into the file's folder.
    """

    file: Path
    hint: str = ""
    hub: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        with said_of("The pretrained weights"):
            take(self, (Setting("file", Path), Setting("hint", str), Setting("hub", str)))

    @property
    def on_the_hub(self) -> dict[Path, str]:
        """The folder, if it is not there, and where the hub has what belongs in it."""
        return {self.file.parent: self.hub} if self.hub and not self.file.parent.is_dir() else {}

    @property
    def how_to_get(self) -> str:
        """A sentence."""
        fetched = f"Fetch them: python -m datagen.fetch {self.hub}; or give --yes." if self.on_the_hub else ""
        return f"{fetched} {self.hint}".strip()


_FASTER_THAN_NOTHING = Allowed(above=0)
_RATES = (
    *(Setting(name, float, _FASTER_THAN_NOTHING) for name in ("trained", "prepared", "made")),
    *(Setting("startup", float, Allowed(minimum=0)), Setting("machine", str)),
    Setting("device", str, Allowed(choices=DEVICES)),
)

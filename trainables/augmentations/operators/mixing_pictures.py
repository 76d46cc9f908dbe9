"""What PixMix mixes in: fractals by default, or the pictures of a folder."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from torch import Tensor
from torchvision.transforms.v2 import functional as operators

from datagen.core.errors import InputError
from datagen.datasets.decoding import CorruptError, decoded_image
from trainables.augmentations.operators.fractals import fractal
from trainables.input.mixing_pictures import digest_of, picture_files
from trainables.spec import FRACTALS, TrainingSpec

FRACTAL_COUNT = 1000
DECODED_LIMIT = 2 * 1024**3
"""Bytes of pictures that are kept decoded; the reference's 18,930 at 256 px would take 4 GB and are read each time."""
NAMED = 5
"""How many broken pictures a message names."""


class MixingSet(Protocol):
    """Numbered pictures, of which each drawing takes `uniforms` numbers in 0..1."""

    uniforms: int

    def __len__(self) -> int: ...

    def draw(self, number: int, *uniforms: float) -> Tensor:
        """Picture `number`, or a crop of it: [3, size, size] uint8."""


class Fractals:
    """`FRACTAL_COUNT` fractals of `size` x `size` pixels, whole."""

    uniforms = 0

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return FRACTAL_COUNT

    def draw(self, number: int, *uniforms: float) -> Tensor:
        """The fractal with this number."""
        return fractal(number, self._size)


class Pictures:
    """The pictures of a folder, as the reference has them: Resize(256), RandomCrop(224), scaled to `size`.

    Raises:
        InputError: some cannot be decoded; the message names the first of them.
    """

    uniforms = 2

    def __init__(self, folder: Path, size: int) -> None:
        self._size, self._files = size, picture_files(folder)
        self._kept: list[Tensor] | None = []
        broken, kept_bytes = [], 0
        with ThreadPoolExecutor(8, thread_name_prefix="mixing") as threads:
            for path, picture in zip(self._files, threads.map(self._picture_or_reason, self._files), strict=True):
                if isinstance(picture, str):
                    broken.append(f"{path} ({picture})")
                elif self._kept is not None:
                    kept_bytes += picture.numel()
                    self._kept.append(picture)
                    if kept_bytes > DECODED_LIMIT:
                        self._kept = None
        if broken:
            more = f" and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
            raise InputError(
                f"{len(broken)} of {len(self._files)} mixing pictures cannot be decoded: {', '.join(broken[:NAMED])}"
                f"{more}. Repair or remove them."
            )

    def __len__(self) -> int:
        return len(self._files)

    def draw(self, number: int, *uniforms: float) -> Tensor:
        """A crop of a picture, whose place from the top and from the left the two numbers say."""
        picture = self._kept[number] if self._kept is not None else self._picture(self._files[number])
        height, width = picture.shape[-2:]
        top, left = int(uniforms[0] * (height - self._size + 1)), int(uniforms[1] * (width - self._size + 1))
        return picture[:, top : top + self._size, left : left + self._size]

    def _picture(self, path: Path) -> Tensor:
        """The picture with its shorter side resized to 256/224 of the size (bilinear)."""
        picture = decoded_image(path.read_bytes())
        return operators.resize(picture, [round(self._size * 256 / 224)], antialias=True)

    def _picture_or_reason(self, path: Path) -> Tensor | str:
        try:
            return self._picture(path)
        except (CorruptError, OSError) as error:
            return str(error)


def mixing_set(spec: TrainingSpec) -> MixingSet:
    """The mixing set of a training.

    Raises:
        InputError: the folder is not given, or its pictures are not those that the training was planned with.
    """
    if spec.mixing_pictures == FRACTALS:
        return Fractals(spec.image_size)
    if spec.mixing_folder is None:
        raise InputError("The folder of the mixing pictures is not given. Give mixing_pictures=DIR.")
    return _pictures(spec.mixing_folder, spec.image_size, spec.mixing_pictures)


@lru_cache(maxsize=1)
def _pictures(folder: Path, size: int, digest: str) -> Pictures:
    """Read once in a process, whatever the number of trainings."""
    if digest_of(folder) != digest:
        raise InputError(f"The mixing pictures in {folder} have changed since the plan was made. Start again.")
    return Pictures(folder, size)

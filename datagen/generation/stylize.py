"""Stylized data sets: another set's images in the style of pictures, by AdaIN, as Stylized-ImageNet was made.

As there (Geirhos et al., 2019): each content is made smaller until it covers 256/224 of the wanted size and its middle
is taken; of each style picture the middle square is taken at the wanted size (`style_size`), and pictures smaller than
that are left out; colors come from the style; each image takes one style picture, drawn from its own seed.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from datagen.core.device import precision_on
from datagen.core.digests import PICTURES
from datagen.core.errors import InputError
from datagen.core.identity import derived_seed
from datagen.datasets.decoding import CorruptError
from datagen.datasets.pictures import rgb_picture, stored_bytes
from datagen.datasets.shards import ImageRow
from datagen.datasets.source_rows import SourceRows
from datagen.datasets.spec import StylizedDataset
from datagen.generation.adain import Statistics, load_style_transfer

CPU_BATCH = 16
"""On a CPU every batch has this size, the last filled up: oneDNN picks its kernels, and so the last bits, by it."""
BLEED = (1 - 224 / 256) / 2
"""The share of a content that is cut off at each side: what lies between 256 and 224 pixels."""
TRIES = 100
"""Style pictures drawn for one image before the folder is given up as one of small or damaged pictures."""
KEPT_STYLES = 8192
"""Styles whose statistics are kept: at the published 512 channels 4 kB each."""

Item = TypeVar("Item")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Task:
    """An image to make: its place in the source set, its seed, and the style picture it takes."""

    source: ImageRow
    seed: int
    style: str


def _picture_names(folder: Path) -> list[str]:
    """The pictures below a folder that count in its digest, sorted; hidden ones are what file managers leave."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in PICTURES]
    shown = [path for path in paths if not any(part.startswith(".") for part in path.parts)]
    return sorted(path.as_posix() for path in shown if (folder / path).is_file())


class StyleLibrary:
    """A folder of style pictures, of which one is drawn for each seed.

    Pictures are looked at when first drawn. One that is damaged or has a side below `side` pixels is left out, named in
    `unusable`, and another is drawn in its place: every usable picture is drawn equally often.

    Raises:
        InputError: there are no pictures in the folder.
    """

    def __init__(self, folder: Path, side: int) -> None:
        self._folder, self._side = folder, side
        if not folder.is_dir():
            raise InputError(f"There is no folder {folder} of style pictures. Put pictures there, or name another.")
        self._names = _picture_names(folder)
        if not self._names:
            raise InputError(f"There are no style pictures in {folder}. Put some there, as JPEG, PNG or WebP files.")
        self.unusable: dict[str, str] = {}
        """Why each picture that was left out was, by its path below the folder."""
        self._usable: set[str] = set()
        self._decoded: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._names)

    def draw(self, seed: int) -> str:
        """The name of the picture for a seed: depends on the seed and the folder's content alone.

        Raises:
            InputError: 100 draws gave no usable picture.
        """
        for attempt in range(TRIES):
            name = self._names[derived_seed(seed, "style", attempt) % len(self._names)]
            if self._is_usable(name):
                return name
        name, reason = next(iter(self.unusable.items()))
        raise InputError(
            f"Of {len(self)} style pictures in {self._folder} none of {len(self.unusable)} that were looked at can be"
            f" used, for example {name} ({reason}). Pictures must have {self._side} pixels or more on each side."
        )

    def pixels(self, name: str) -> np.ndarray:
        """The middle square of a picture, RGB bytes of shape (side, side, 3).

        Raises:
            CorruptError: it is damaged, or too small; the message says which.
        """
        # What was decoded to see that it is usable is asked for once more.
        decoded = self._decoded.pop(name, None)
        return self._decode(name) if decoded is None else decoded

    def _decode(self, name: str) -> np.ndarray:
        try:
            data = (self._folder / name).read_bytes()
        except FileNotFoundError:
            data = None
        image = rgb_picture(data, enough=2 * self._side)
        if min(image.size) < self._side:
            raise CorruptError(f"only {image.width} x {image.height} pixels")
        return np.asarray(ImageOps.fit(image, (self._side, self._side), Image.Resampling.LANCZOS))

    def _is_usable(self, name: str) -> bool:
        if name not in self._usable and name not in self.unusable:
            try:
                self._decoded[name] = self._decode(name)
                self._usable.add(name)
            except CorruptError as error:
                self.unusable[name] = str(error)
                logger.warning("The style picture %s is left out: %s.", self._folder / name, error)
        return name in self._usable


class StyleGenerator:
    """Makes the images of a stylized data set.

    On a CPU the pixels of an image depend on the spec, the network and the source image alone, bit for bit.

    Args:
        spec: what to make.
        device: "cpu", or "cuda".
        source_folder: the shards of the set whose images are stylized.

    Raises:
        InputError: network, styles or source are missing or damaged, or the wanted size is too small for the network.
    """

    def __init__(self, spec: StylizedDataset, device: str, source_folder: Path) -> None:
        self.spec = spec
        self._device = torch.device(device)
        self._dtype = getattr(torch, precision_on(self._device, spec.precision))
        network = load_style_transfer(spec.network_folder)
        if min(spec.width, spec.height) < network.smallest_side:
            raise InputError(
                f"{spec.network} needs images of {network.smallest_side} pixels or more on each side,"
                f" not {spec.width} x {spec.height}. Set width and height."
            )
        self._network = network.to(self._device, self._dtype).to(memory_format=torch.channels_last)
        self._batch = CPU_BATCH if self._device.type == "cpu" else spec.images_at_once
        self.styles = StyleLibrary(spec.styles_folder, spec.style_size or max(spec.width, spec.height))
        self._source = SourceRows(source_folder)
        self._statistics: OrderedDict[str, Statistics] = OrderedDict()
        # Pictures are decoded and encoded while the device is at work.
        self._threads = ThreadPoolExecutor(1 if self._device.type == "cpu" else 8, thread_name_prefix="pictures")

    @property
    def left_out(self) -> dict[str, str]:
        """The style pictures looked at so far that are damaged or too small, with the reasons."""
        return self.styles.unusable

    def draw(self, positions: Sequence[int]) -> list[ImageRow]:
        """Stylizes the source's rows of these numbers, in that order; class, label and index are the source's.

        Raises:
            InputError: a source image is damaged, or no usable style picture is found.
        """
        tasks = list(self._threads.map(self._task, self._source.read(positions)))
        batches = _parts(tasks, self._batch)
        contents = [[self._threads.submit(self._content_pixels, task) for task in batch] for batch in batches]
        encoded: list[Future[ImageRow]] = []
        for batch, pixels in zip(batches, contents, strict=True):
            images = self._draw_batch(batch, [future.result() for future in pixels])
            encoded += [self._threads.submit(self._encode, *pair) for pair in zip(batch, images, strict=True)]
        return [future.result() for future in encoded]

    def _task(self, row: ImageRow) -> _Task:
        seed = self.spec.image_seed(row.class_name, row.index)
        return _Task(row, seed, self.styles.draw(seed))

    @torch.inference_mode()
    def _draw_batch(self, batch: Sequence[_Task], contents: Sequence[np.ndarray]) -> np.ndarray:
        """RGB bytes of shape (images, height, width, 3)."""
        self._learn_styles(task.style for task in batch)
        padded = [*batch, *[batch[-1]] * (-len(batch) % self._batch)]
        kept = [self._statistics[task.style] for task in padded]
        style = (torch.cat([mean for mean, _ in kept]), torch.cat([deviation for _, deviation in kept]))
        drawn = self._network(self._tensor(contents), style, self.spec.alpha)
        # As torchvision.utils.save_image rounds.
        colors = drawn.float().mul(255).add(0.5).clamp(0, 255).byte()[: len(batch)]
        while len(self._statistics) > KEPT_STYLES:
            self._statistics.popitem(last=False)
        return colors.permute(0, 2, 3, 1).cpu().numpy()

    def _learn_styles(self, names: Iterable[str]) -> None:
        """Computes the statistics of style pictures that are not known yet."""
        missing = []
        for name in dict.fromkeys(names):
            if name in self._statistics:
                self._statistics.move_to_end(name)
            else:
                missing.append(name)
        for part in _parts(missing, self._batch):
            pixels = list(self._threads.map(self.styles.pixels, part))
            means, deviations = self._network.statistics(self._tensor(pixels))
            for place, name in enumerate(part):
                self._statistics[name] = (means[place : place + 1], deviations[place : place + 1])

    def _tensor(self, pictures: Sequence[np.ndarray]) -> Tensor:
        """RGB from 0 to 1 on the device, of a whole batch's size."""
        padded = [*pictures, *[pictures[-1]] * (-len(pictures) % self._batch)]
        # The bytes of (images, height, width, channels) are what channels_last is.
        colors = torch.from_numpy(np.stack(padded)).permute(0, 3, 1, 2).to(self._device, non_blocking=True)
        return colors.to(self._dtype).div(255)

    def _content_pixels(self, task: _Task) -> np.ndarray:
        return content_pixels(task.source, self.spec.width, self.spec.height)

    def _encode(self, task: _Task, pixels: np.ndarray) -> ImageRow:
        spec, row = self.spec, task.source
        style = Path(task.style).with_suffix("").as_posix().replace("/", "-")
        return ImageRow(
            image=stored_bytes(pixels, spec.image_format, spec.jpeg_quality, spec.stored_size),
            path=f"{row.class_name}/{row.index:06d}-stylized-{style}.{spec.image_format}",
            label=row.label,
            class_name=row.class_name,
            index=row.index,
            seed=task.seed,
        )


def _parts(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    return [items[first : first + size] for first in range(0, len(items), size)]


def content_pixels(row: ImageRow, width: int, height: int) -> np.ndarray:
    """The middle of an image, RGB bytes of shape (height, width, 3); one that has that size already is taken whole.

    Raises:
        InputError: the image is damaged.
    """
    try:
        image = rgb_picture(row.image)
    except CorruptError as error:
        raise InputError(f"The image {row.path} cannot be stylized: {error}. Make its data set again.") from None
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR, bleed=BLEED)
    return np.asarray(image)

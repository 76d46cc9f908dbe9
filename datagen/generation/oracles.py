"""Draws one image for each image of another set, which conditions it (oracle prompts; Mind the Gap, Table 4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from datagen.core.errors import InputError
from datagen.datasets.decoding import CorruptError
from datagen.datasets.pictures import rgb_picture
from datagen.datasets.source_rows import SourceRows
from datagen.datasets.spec import OracleDataset
from datagen.generation.diffusion import DiffusionPainter, Subject
from datagen.generation.embeddings import check_lengths


class OracleGenerator(DiffusionPainter):
    """Draws images from source images; a position is the number of a row of the source.

    By "unclip" the source is seen through the pipeline's own CLIP preprocessing (resized on the shorter side, centre
    crop). By "image_to_image" it is scaled and centre-cropped to width x height (bicubic).

    Raises:
        InputError: the pipeline or the source is missing or damaged, or a prompt is too long.
    """

    def __init__(self, spec: OracleDataset, device: str, source_folder: Path) -> None:
        super().__init__(spec, device)
        self._method, self._settings = spec.method, spec
        self._rows, self._folder = SourceRows(source_folder), source_folder
        check_lengths(self._pipeline, (prompt for prompts in spec.prompts for prompt in prompts))

    def _subjects(self, positions: Sequence[int]) -> list[Subject]:
        return [Subject(row.label, row.index, self._picture(row.image, row.path)) for row in self._rows.read(positions)]

    def _conditions(self, subjects: Sequence[Subject]) -> dict[str, Any]:
        pictures = [subject.source for subject in subjects]
        if self._method == "image_to_image":
            return {"image": pictures, "strength": self._settings.strength}
        size = {"width": self._settings.width, "height": self._settings.height}
        return {"image": pictures, "noise_level": self._settings.noise_level, **size}

    def _picture(self, encoded: bytes, path: str) -> Image.Image:
        try:
            picture = rgb_picture(encoded)
        except CorruptError as error:
            raise InputError(
                f"The source image {path} in {self._folder} cannot be decoded ({error}). Import its set again."
            ) from None
        if self._method == "unclip":
            return picture
        size = (self._settings.width, self._settings.height)
        return ImageOps.fit(picture, size, Image.Resampling.BICUBIC)

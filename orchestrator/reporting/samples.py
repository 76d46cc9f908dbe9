"""Sample images of data sets, for a report: a few of a few classes, found without reading a whole set."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from datagen.core.errors import InputError
from datagen.datasets.contact_sheet import first_images, strip
from datagen.datasets.shards import read_manifest

CLASSES, PER_CLASS, SIDE = 5, 4, 88
"""Classes shown, images of each, and the side of the square that an image has room in, in pixels."""


class Strip(NamedTuple):
    """Some images of one class of one data set, side by side, as a data URI."""

    title: str
    class_name: str
    image: str


def sample_classes(class_names: Sequence[str]) -> list[int]:
    """Labels spread over the classes."""
    count = min(CLASSES, len(class_names))
    return [round(place * (len(class_names) - 1) / max(1, count - 1)) for place in range(count)]


def sample_strips(folder: Path, title: str, labels: Sequence[int] = ()) -> list[Strip]:
    """A strip for each of some classes of the data set in `folder`, or for its sample classes.

    Fewer, or none, where it has no such images.
    """
    try:
        manifest = read_manifest(folder)
        found = first_images(folder, manifest, labels or sample_classes(manifest.class_names), PER_CLASS)
    except InputError:
        return []
    return [Strip(title, manifest.class_names[label], _uri(images)) for label, images in found.items() if images]


def _uri(images: Sequence[bytes]) -> str:
    buffer = io.BytesIO()
    strip(images, PER_CLASS, SIDE).save(buffer, "jpeg", quality=88)
    return data_uri(buffer.getvalue(), "image/jpeg")


def data_uri(content: bytes, media_type: str) -> str:
    """The content as a URI that a page can hold in itself."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"

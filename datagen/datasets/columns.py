"""Which columns of a table of images hold the pictures and the classes: by their names, or the only one of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datagen.core.errors import InputError
from datagen.core.wording import as_utf8, listed

IMAGE_COLUMNS = ("image", "img", "jpg", "png", "webp")
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "fine_label", "coarse_label", "category", "wnid", "cls")
"""Names that are looked for, in this order; others must be named."""


def image_column(wanted: str, there: Sequence[str], where: str) -> str:
    """The column of images among those that can hold images, the only one whatever its name.

    Raises:
        InputError: it is not there, or which it is cannot be told.
    """
    only = there if len(there) == 1 else ()
    return _column(wanted, there, (*IMAGE_COLUMNS, *only), where, "images", "--image-column")


def label_column(wanted: str, there: Sequence[str], where: str) -> str:
    """The column of labels among those that can hold labels.

    Raises:
        InputError: it is not there, or which it is cannot be told.
    """
    return _column(wanted, there, LABEL_COLUMNS, where, "labels", "--label-column")


def class_name(value: Any, names: Sequence[str], where: str) -> str:
    """What a label means: a name as it is, a number by the names of the classes.

    Raises:
        InputError: nothing explains it.
    """
    if isinstance(value, str) and value:
        return as_utf8(value)
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    raise InputError(
        f"{where} has the label {value!r}, which nothing explains: it has {len(names)} names of classes. Repair it, or "
        "give --label-names FILE."
    )


def _column(wanted: str, there: Sequence[str], usual: Sequence[str], where: str, what: str, option: str) -> str:
    if wanted:
        if wanted not in there:
            raise InputError(f"{where} has no column {wanted!r} of {what}. It has: {listed(there) or 'none'}.")
        return wanted
    found = next((name for name in usual if name in there), None)
    if found is None:
        raise InputError(
            f"{where} has no column of {what} that is known by its name. Give {option}. It has: "
            f"{listed(there) or 'none'}."
        )
    return found

"""All measures of a set, or of one against another, in one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from datagen.core.errors import InputError
from datagen.measuring.encoders import Features
from datagen.measuring.measures import (
    NEAREST,
    by_class,
    count_near_duplicates,
    frechet_distance,
    kernel_distance,
    manifold_measures,
    near_duplicates,
    vendi_score,
)


def measured(
    sets: Sequence[Features], nearest: int = NEAREST, similarity: float = 0.99, *, names_pairs: bool = True
) -> dict[str, Any]:
    """All measures of a set, and, of two, of the first against the second.

    Near-duplicates are named, or only counted: in a classifier's features there may be millions.

    Raises:
        InputError: a set has too few images.
    """
    first = sets[0]
    if len(first.values) < 2:
        raise InputError("The set has one image. Measures need more.")
    values: dict[str, Any] = {"images": len(first.values), "vendi": vendi_score(first.values)}
    pairs: Callable[..., Any] = near_duplicates if names_pairs else count_near_duplicates
    values["duplicates"] = pairs(first.values, similarity=similarity)
    if len(sets) > 1:
        second = sets[1]
        values |= manifold_measures(second.values, first.values, nearest)
        of_classes = by_class(second.values, second.labels, first.values, first.labels, nearest)
        values |= {f"{name} by class": value for name, value in of_classes.items()}
        values["frechet distance"] = frechet_distance(first.values, second.values)
        values["kernel distance"] = kernel_distance(first.values, second.values)
        values["leaks"] = pairs(first.values, second.values, similarity)
    return values

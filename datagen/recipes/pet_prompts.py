"""Prompts of pet breeds with attributes, after Popp et al., whose method Fine-Tuning Role took for its pets.

They asked a language model for 15 values of each of four attributes, and combined them so that every pair of values of
two attributes occurs (all-pairs), which gives 265 prompts a breed. The values here are ours, written for this list; the
words "++" that weight their prompts' parts are left out, as the pipelines of `diffusers` read plain text. Prompts of
your own, for example theirs, come from a CSV file instead.
"""

from __future__ import annotations

from functools import cache

from allpairspy import AllPairs

from datagen.core.errors import InputError

_CATS = (
    "Abyssinian, Bengal, Birman, Bombay, British Shorthair, Egyptian Mau, Maine Coon, Persian, Ragdoll, Russian Blue, "
    "Siamese, Sphynx"
)
_DOGS = (
    "American Bulldog, American Pit Bull Terrier, Basset Hound, Beagle, Boxer, Chihuahua, English Cocker Spaniel, "
    "English Setter, German Shorthaired, Great Pyrenees, Havanese, Japanese Chin, Keeshond, Leonberger, "
    "Miniature Pinscher, Newfoundland, Pomeranian, Pug, Saint Bernard, Samoyed, Scottish Terrier, Shiba Inu, "
    "Staffordshire Bull Terrier, Wheaten Terrier, Yorkshire Terrier"
)
_SPECIES = {breed.casefold(): "cat" for breed in _CATS.split(", ")} | {
    breed.casefold(): "dog" for breed in _DOGS.split(", ")
}

ATTRIBUTES = {
    "location": (
        "in a living room; in a garden; on a beach; in a forest; on a city street; in a kitchen; on a farm; in a park; "
        "on a balcony; in a snowy field; beside a lake; on a sofa; in a meadow; on a porch; at a veterinary clinic"
    ),
    "daytime": (
        "at dawn; in the early morning; at midday; in the afternoon; at sunset; at dusk; at night; in bright sunlight; "
        "under an overcast sky; in soft window light; by lamplight; in fog; in light rain; at golden hour; "
        "in deep shade"
    ),
    "position": (
        "sitting; standing; lying down; sleeping; running; walking; jumping; playing with a ball; stretching; eating; "
        "curled up; looking up; looking over its shoulder; rolling on its back; being held in arms"
    ),
    "angle": (
        "seen from the front; seen from the side; seen from behind; seen from above; seen from below; at eye level; "
        "close-up of the face; full body view; three-quarter view; seen from far away; wide-angle view; "
        "through a telephoto lens; from a low angle; from a high angle; cropped at the shoulders"
    ),
}
"""15 values of each attribute."""


def attribute_prompts(breed: str) -> tuple[str, ...]:
    """The 265 prompts of a breed.

    Raises:
        InputError: the breed is none of Oxford-IIIT Pet's.
    """
    species = _SPECIES.get(breed.casefold())
    if species is None:
        raise InputError(
            f"{breed} is no breed of Oxford-IIIT Pet, so it has no 'pet attributes'. Use another prompt style, or give "
            "prompts_file=FILE, a CSV file with the columns class and prompt."
        )
    return tuple(f"A photo of a {breed} ({species}, pet), {', '.join(values)}" for values in _combinations())


@cache
def _combinations() -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(values) for values in AllPairs([text.split("; ") for text in ATTRIBUTES.values()]))

"""Which classes a data set of real images has, in label order, and the files of each class on the disk.

ImageNet-100 is the list of Tian, Krishnan and Isola (Contrastive Multiview Coding, 2020); a label is the position of
the WordNet id among the 100 sorted ones, as torchvision's ImageFolder numbers them, and the class name is the synset's
first lemma; so are those of Imagenette and Imagewoof (Howard, 2019). Oxford-IIIT Pet has its 37 breeds in the order of
the annotations, spelled as torchvision spells them.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from datagen.core.errors import InputError
from datagen.core.wording import as_utf8, counted, listed


class ImageClass(NamedTuple):
    """A class: the name of its folder, its name in tables, and its WordNet id ("" where none is known)."""

    folder: str
    name: str
    wordnet_id: str


def _imagenet100() -> tuple[ImageClass, ...]:
    with (Path(__file__).parent / "imagenet100_classes.csv").open(newline="", encoding="utf-8") as file:
        return tuple(
            ImageClass(row["wordnet_id"], row["class_name"], row["wordnet_id"]) for row in csv.DictReader(file)
        )


IMAGENET100: tuple[ImageClass, ...] = _imagenet100()

_BREEDS = (
    "Abyssinian, American Bulldog, American Pit Bull Terrier, Basset Hound, Beagle, Bengal, Birman, Bombay, Boxer, "
    "British Shorthair, Chihuahua, Egyptian Mau, English Cocker Spaniel, English Setter, German Shorthaired, "
    "Great Pyrenees, Havanese, Japanese Chin, Keeshond, Leonberger, Maine Coon, Miniature Pinscher, Newfoundland, "
    "Persian, Pomeranian, Pug, Ragdoll, Russian Blue, Saint Bernard, Samoyed, Scottish Terrier, Shiba Inu, Siamese, "
    "Sphynx, Staffordshire Bull Terrier, Wheaten Terrier, Yorkshire Terrier"
)
OXFORD_PETS: tuple[ImageClass, ...] = tuple(
    ImageClass(breed.replace(" ", "_"), breed, "") for breed in _BREEDS.split(", ")
)


def _of_imagenet(*classes: tuple[str, str]) -> tuple[ImageClass, ...]:
    return tuple(ImageClass(wordnet_id, name, wordnet_id) for wordnet_id, name in classes)


IMAGENETTE = _of_imagenet(
    *(("n01440764", "tench"), ("n02102040", "English springer"), ("n02979186", "cassette player")),
    *(("n03000684", "chain saw"), ("n03028079", "church"), ("n03394916", "French horn")),
    *(("n03417042", "garbage truck"), ("n03425413", "gas pump"), ("n03445777", "golf ball")),
    ("n03888257", "parachute"),
)
IMAGEWOOF = _of_imagenet(
    *(("n02086240", "Shih-Tzu"), ("n02087394", "Rhodesian ridgeback"), ("n02088364", "beagle")),
    *(("n02089973", "English foxhound"), ("n02093754", "Border terrier"), ("n02096294", "Australian terrier")),
    *(("n02099601", "golden retriever"), ("n02105641", "Old English sheepdog"), ("n02111889", "Samoyed")),
    ("n02115641", "dingo"),
)

CLASS_LISTS = {
    "imagenet100": IMAGENET100,
    "oxford_pets": OXFORD_PETS,
    "imagenette": IMAGENETTE,
    "imagewoof": IMAGEWOOF,
}
"""The data sets whose classes are known beforehand."""


def class_folders(root: Path) -> list[str]:
    """The names of the class folders in `root`, sorted; hidden ones are passed over.

    Raises:
        InputError: there is no such folder, it cannot be read, or it has no sub-folders.
    """
    try:
        with os.scandir(root) as entries:
            found = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except FileNotFoundError:
        raise InputError(f"There is no folder {root}. Name the one that holds a folder for each class.") from None
    except OSError as error:
        raise InputError(f"Cannot read the folder {root}: {error.strerror}.") from error
    if not found:
        raise InputError(f"{root} has no sub-folders, but one for each class is expected: {root}/CLASS/PICTURES.")
    return found


def classes_found(folders: Sequence[str]) -> tuple[ImageClass, ...]:
    """The classes of a data set without a list: the folders are the classes, in the order given."""
    return tuple(ImageClass(as_utf8(folder), as_utf8(folder), "") for folder in folders)


def match_folders(root: Path, folders: Sequence[str], name: str, classes: Sequence[ImageClass]) -> list[str]:
    """The folder of each class, in label order.

    Where `name` has a class list, letter case does not count and blanks, underscores and hyphens are alike.

    Raises:
        InputError: classes without a folder, folders that are no class, or two folders of one class; each is named.
    """
    by_key: dict[str, str] = {}
    for folder in folders:
        if (key := folder_key(name, folder)) in by_key:
            raise InputError(f"{root} has two folders of one class, {by_key[key]} and {folder}. Merge them.")
        by_key[key] = folder
    expected = {folder_key(name, item.folder): item for item in classes}
    missing = [
        item.folder + (f" ({item.name})" if item.wordnet_id else "") for k, item in expected.items() if k not in by_key
    ]
    extra = [folder for key, folder in by_key.items() if key not in expected]
    complaints = []
    if missing:
        complaints.append(f"lacks {len(missing)} of the {len(classes)} classes of {name}: {listed(missing)}")
    if extra:
        complaints.append(f"has {counted(len(extra), 'folder')} that {name} does not have: {listed(extra)}")
    if complaints:
        raise InputError(f"{root} {', and '.join(complaints)}. Add or remove those folders.")
    return [by_key[key] for key in expected]


def folder_key(name: str, folder: str) -> str:
    """What two spellings of a class's folder have in common, in a data set called `name`."""
    return _loosely(folder) if name in CLASS_LISTS else as_utf8(folder)


def _loosely(text: str) -> str:
    return " ".join(text.replace("_", " ").replace("-", " ").split()).casefold()


def named_folders(names: Sequence[str], classes: Sequence[ImageClass]) -> dict[str, str]:
    """What a class list calls the folder of each class that goes by one of `names` elsewhere.

    A name may be the folder's, the class's, its WordNet id, or several lemmas of the synset with commas between, as
    ImageNet's labels are written. It stays as it is where the list has no such class.
    """
    known = {_loosely(text): c.folder for c in classes for text in (c.name, c.wordnet_id, c.folder) if text}
    folders = {item.folder for item in classes}

    def folder_of(name: str) -> str:
        spellings = [_loosely(text) for text in (name, *name.split(","))]
        return name if name in folders else next((known[text] for text in spellings if text in known), name)

    return {name: folder_of(name) for name in names}

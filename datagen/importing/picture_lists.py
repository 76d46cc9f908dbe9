"""Pictures that lie together in one folder, with a text file that says the class of each.

So Oxford-IIIT Pet is published (`images/` and `annotations/`), and so are ImageNet's validation images.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from datagen.core.errors import InputError
from datagen.core.files import read_text
from datagen.core.wording import as_utf8, counted, listed
from datagen.importing.parquet import ParquetImages
from datagen.importing.scan import (
    Found,
    FoundFile,
    check_class_folders,
    is_picture,
    scan_beside,
    scan_folder,
)
from datagen.recipes.class_lists import class_folders

PETS_SPLITS = {"train": "trainval.txt", "validation": "test.txt"}
"""The annotation file of each split, as the authors divided the pictures."""
COMPOSITIONS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
SYNSET = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class PictureList:
    """The pictures of one split: their names below `folder` by class, as `file` lists them."""

    folder: Path
    file: Path
    classes: dict[str, list[str]]


Pictures = Path | PictureList | ParquetImages
"""Where a split's pictures are: a folder of class folders, a folder with a list, or Parquet files."""


def root_of(pictures: Pictures) -> Path:
    """The folder that holds a split's pictures."""
    return pictures if isinstance(pictures, Path) else pictures.folder


def classes_of(pictures: Pictures) -> list[str]:
    """The classes of a split, sorted, as its folders or its list spell them.

    Raises:
        InputError: the folder cannot be read, has no class folders, or has two that are one.
    """
    if isinstance(pictures, ParquetImages):
        return pictures.class_names
    if not isinstance(pictures, Path):
        return sorted(pictures.classes)
    folders = class_folders(pictures)
    check_class_folders(pictures, folders)
    return folders


def files_of(pictures: Path | PictureList, class_name: str) -> tuple[list[tuple[str, FoundFile]], Found]:
    """The pictures of a class, each with its path below `root_of`, sorted, and what else its folder holds.

    A listed picture that is not there has size -1, so that it will be named.

    Raises:
        InputError: a folder cannot be read.
    """
    if isinstance(pictures, Path):
        found = scan_folder(pictures / class_name)
        return [(f"{class_name}/{file.name}", file) for file in found.files], found
    files = [_found(pictures.folder, name) for name in sorted(pictures.classes[class_name])]
    return [(file.name, file) for file in files], Found()


def beside(pictures: Path | PictureList) -> Counter[str]:
    """How many files of each ending lie beside class folders, and so have no class.

    Raises:
        InputError: a folder cannot be read.
    """
    return scan_beside(pictures) if isinstance(pictures, Path) else Counter()


def _found(folder: Path, name: str) -> FoundFile:
    # A list may compose its letters otherwise than the disk that the pictures were unpacked on.
    for spelled in dict.fromkeys((name, *(unicodedata.normalize(form, name) for form in COMPOSITIONS))):
        try:
            state = os.stat(folder / spelled)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InputError(f"Cannot read {folder / name}: {error.strerror}.") from error
        return FoundFile(spelled, state.st_size, state.st_mtime_ns)
    return FoundFile(name, -1, 0)


def oxford_pets_lists(folder: Path) -> dict[str, PictureList]:
    """The splits of Oxford-IIIT Pet as downloaded: a folder with `images` and `annotations`.

    A line of `trainval.txt` and `test.txt` names a picture without ending, "Abyssinian_100", and three numbers.

    Raises:
        InputError: a file is missing, or a line cannot be understood, or a picture is in both splits.
    """
    lists = {}
    for split, name in PETS_SPLITS.items():
        path, classes = folder / "annotations" / name, dict[str, list[str]]()
        for number, line in enumerate(_lines(path, f"Unpack images.tar.gz and annotations.tar.gz in {folder}."), 1):
            match = re.fullmatch(r"(\S+)_\d+(\s+\d+){3}", line)
            if match is None:
                raise InputError(f"{path}, line {number} is not like 'Abyssinian_100 1 1 1': {line[:60]!r}.")
            classes.setdefault(match[1], []).append(f"{line.split()[0]}.jpg")
        lists[split] = _checked(PictureList(folder / "images", path, classes))
    train, validation = ({name for files in item.classes.values() for name in files} for item in lists.values())
    if both := sorted(train & validation):
        raise InputError(f"{counted(len(both), 'picture')} of {folder} is in both splits: {listed(both)}.")
    return lists


def labelled_list(folder: Path, labels: Path) -> PictureList:
    """The pictures of a folder with a file of WordNet ids, as ImageNet's validation images come.

    Args:
        folder: the pictures.
        labels: a line for each picture: its WordNet id, in the order of the pictures' names; or the picture's name,
            with or without ending, and behind a blank or comma its id (as in `LOC_val_solution.csv`; what follows the
            id, and a first line without one, are passed over).

    Raises:
        InputError: the file or folder cannot be read, or does not say the class of each picture.
    """
    lines = _lines(labels, "Name the file that says the class of each picture.")
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}. Name the one that holds the pictures.")
    pictures = [file.name for file in scan_folder(folder).files]
    if all(SYNSET.fullmatch(line) for line in lines):
        if len(lines) != len(pictures):
            raise InputError(
                f"{labels} has {counted(len(lines), 'line')}, but {folder} has {counted(len(pictures), 'picture')}."
                " Give a list with the pictures' names, or complete the folder."
            )
        return _grouped(folder, labels, list(zip(pictures, lines, strict=True)))
    by_stem = {as_utf8(_stem(name)): name for name in pictures}
    pairs = []
    for number, line in enumerate(lines, 1):
        match = re.match(r"([^\s,]+)[\s,]+(n\d{8})\b", line)
        if match is None and number > 1:
            raise InputError(f"{labels}, line {number} has no picture and WordNet id (n and 8 digits): {line[:60]!r}.")
        if match is not None:
            pairs.append((by_stem.get(as_utf8(_stem(match[1])), match[1]), match[2]))
    return _grouped(folder, labels, pairs)


def _grouped(folder: Path, file: Path, pairs: list[tuple[str, str]]) -> PictureList:
    classes: dict[str, list[str]] = {}
    for name, class_name in pairs:
        classes.setdefault(class_name, []).append(name)
    return _checked(PictureList(folder, file, classes))


def _checked(pictures: PictureList) -> PictureList:
    names = [name for files in pictures.classes.values() for name in files]
    if not names:
        raise InputError(f"{pictures.file} lists no pictures.")
    if outside := [name for name in names if name.startswith("/") or ".." in name.split("/")]:
        raise InputError(f"{pictures.file} names pictures outside {pictures.folder}: {listed(outside)}.")
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError(f"{pictures.file} lists {counted(len(twice), 'picture')} twice: {listed(twice)}.")
    return pictures


def _lines(path: Path, advice: str) -> list[str]:
    """The lines of a text file that are neither empty nor a comment."""
    try:
        lines = [line.strip() for line in read_text(path).splitlines()]
    except FileNotFoundError:
        raise InputError(f"There is no file {path}. {advice}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read {path} as text: {error}.") from None
    return [line for line in lines if line and not line.startswith("#")]


def _stem(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return stem if dot and is_picture(f".{ending}") else name

"""Pictures that lie together in one folder, with a text file that says the class of each.

So Oxford-IIIT Pet is published (`images/` and `annotations/`), and so are ImageNet's validation images.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from datagen.core.errors import InputError
from datagen.core.files import SUFFIXES, FoundFile, picture_files
from datagen.core.wording import counted, listed
from datagen.recipes.class_lists import ImageClass, class_folders, folder_key

PETS_SPLITS = {"train": "trainval.txt", "validation": "test.txt"}
"""The annotation file of each split, as the authors divided the pictures."""
SYNSET = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class PictureList:
    """The pictures of one split: their names below `folder` by class, as `file` lists them."""

    folder: Path
    file: Path
    classes: dict[str, list[str]]

    def only(self, name: str, classes: Iterable[ImageClass]) -> PictureList:
        """Without the classes that the data set `name` does not have."""
        wanted = {folder_key(name, item.folder) for item in classes}
        kept = {key: files for key, files in self.classes.items() if folder_key(name, key) in wanted}
        return PictureList(self.folder, self.file, kept)


Pictures = Path | PictureList
"""Where a split's pictures are: a folder of class folders, or a folder with a list."""


def root_of(pictures: Pictures) -> Path:
    """The folder that holds a split's pictures."""
    return pictures if isinstance(pictures, Path) else pictures.folder


def classes_of(pictures: Pictures) -> list[str]:
    """The classes of a split, sorted, as its folders or its list spell them.

    Raises:
        InputError: the folder cannot be read or has no class folders.
    """
    return class_folders(pictures) if isinstance(pictures, Path) else sorted(pictures.classes)


def files_of(pictures: Pictures, class_name: str) -> tuple[list[tuple[str, FoundFile]], int]:
    """The pictures of a class, each with its path below `root_of`, sorted, and the number of other files there.

    A listed picture that is not there has size -1, so that it will be named.

    Raises:
        InputError: a folder cannot be read.
    """
    if isinstance(pictures, Path):
        files, others = picture_files(pictures / class_name)
        return [(f"{class_name}/{file.name}", file) for file in files], others
    found = [_found(pictures.folder, name) for name in sorted(pictures.classes[class_name])]
    return [(file.name, file) for file in found], 0


def _found(folder: Path, name: str) -> FoundFile:
    try:
        state = os.stat(folder / name)
    except FileNotFoundError:
        return FoundFile(name, -1, 0)
    except OSError as error:
        raise InputError(f"Cannot read {folder / name}: {error.strerror}.") from error
    return FoundFile(name, state.st_size, state.st_mtime_ns)


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
    pictures = [file.name for file in picture_files(folder)[0]]
    if all(SYNSET.fullmatch(line) for line in lines):
        if len(lines) != len(pictures):
            raise InputError(
                f"{labels} has {counted(len(lines), 'line')}, but {folder} has {counted(len(pictures), 'picture')}."
                " Give a list with the pictures' names, or complete the folder."
            )
        return _grouped(folder, labels, list(zip(pictures, lines, strict=True)))
    by_stem = {_stem(name): name for name in pictures}
    pairs = []
    for number, line in enumerate(lines, 1):
        match = re.match(r"([^\s,]+)[\s,]+(n\d{8})\b", line)
        if match is None and number > 1:
            raise InputError(f"{labels}, line {number} has no picture and WordNet id (n and 8 digits): {line[:60]!r}.")
        if match is not None:
            pairs.append((by_stem.get(_stem(match[1]), match[1]), match[2]))
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
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise InputError(f"There is no file {path}. {advice}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read {path} as text: {error}.") from None
    return [line for line in lines if line and not line.startswith("#")]


def _stem(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return stem if dot and f".{ending.lower()}" in SUFFIXES else name

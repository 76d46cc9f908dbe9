"""Looks for the picture files of a class's folder, and counts what it leaves out."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from PIL import features

from datagen.core.errors import InputError

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
    *((".avif",) if features.check("avif") else ()),
)
"""Endings of picture files that are imported, in any case: what Pillow decodes, none of which ends a process."""
NO_ENDING = "no ending"


class FoundFile(NamedTuple):
    """A picture file: its path below the class's folder, with slashes; its size in bytes and time of last change."""

    name: str
    size: int
    changed_ns: int


@dataclass
class Found:
    """What a folder holds.

    Attributes:
        files: its pictures and those in its sub-folders, sorted by name.
        others: how many files of each ending are no pictures.
        links: links to folders, which are not followed.
    """

    files: list[FoundFile] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    links: list[str] = field(default_factory=list)


def scan_folder(folder: Path) -> Found:
    """The pictures in `folder` and its sub-folders.

    Links to files are followed; a link to nothing counts as a picture of size -1, so that it will be named. Links to
    folders are not: they lead to other classes, or in a circle. Hidden files and folders are passed over: file managers
    and macOS archives leave such beside pictures.

    Raises:
        InputError: a folder cannot be read.
    """
    found = Found()
    waiting = [("", str(folder))]
    try:
        while waiting:
            prefix, path = waiting.pop()
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    name = prefix + entry.name
                    if entry.is_dir():
                        if entry.is_symlink():
                            found.links.append(name)
                        else:
                            waiting.append((f"{name}/", entry.path))
                    elif not is_picture(entry.name):
                        found.others[ending_of(entry.name)] += 1
                    elif entry.is_file():
                        state = entry.stat()
                        found.files.append(FoundFile(name, state.st_size, state.st_mtime_ns))
                    else:
                        found.files.append(FoundFile(name, -1, 0))
    except OSError as error:
        raise InputError(f"Cannot read {error.filename or folder}: {error.strerror}.") from error
    found.files.sort()
    return found


def scan_beside(root: Path) -> Counter[str]:
    """How many files of each ending lie in the folder that holds the class folders: they have no class."""
    try:
        with os.scandir(root) as entries:
            return Counter(ending_of(e.name) for e in entries if not e.name.startswith(".") and not e.is_dir())
    except OSError as error:
        raise InputError(f"Cannot read {root}: {error.strerror}.") from error


def check_class_folders(root: Path, folders: list[str]) -> None:
    """Refuses class folders that are links in a circle, or two of which are one folder.

    A link to a folder elsewhere is good: so subsets of large data sets are made.

    Raises:
        InputError: it names the folders.
    """
    ancestors = {Path(os.path.realpath(root)), *Path(os.path.realpath(root)).parents}
    seen: dict[Path, str] = {}
    for folder in folders:
        real = Path(os.path.realpath(root / folder))
        if real in ancestors:
            raise InputError(f"{root / folder} is a link to a folder that holds it, {real}. Remove it.")
        if real in seen:
            raise InputError(f"{root} has two classes that are one folder, {seen[real]} and {folder}. Remove one.")
        seen[real] = folder


def is_picture(name: str) -> bool:
    """Whether a file's ending is that of a picture that is imported."""
    return name.lower().endswith(SUFFIXES)


def ending_of(name: str) -> str:
    """The ending of a file's name, in small letters, with its dot."""
    return Path(name).suffix.lower() or NO_ENDING

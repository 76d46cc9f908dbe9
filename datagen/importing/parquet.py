"""Images that lie in Parquet files, as Hugging Face's `datasets`, this project and many others write them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.core.errors import InputError
from datagen.core.wording import as_utf8, listed
from datagen.datasets.columns import class_name, image_column, label_column
from datagen.recipes.class_lists import ImageClass, named_folders


@dataclass(frozen=True)
class ParquetImages:
    """The images of one split in Parquet files.

    Attributes:
        folder: what the files' names start from.
        files: their names, in order.
        image: the column of images: encoded bytes, or a struct with `bytes`.
        label: the column of labels: names, or numbers that `names` explains.
        names: of the classes by number, if labels are numbers.
        spelled: what a class is called here, by the folder's name in a class list.
    """

    folder: Path
    files: tuple[str, ...]
    image: str
    label: str
    names: tuple[str, ...] = ()
    spelled: tuple[tuple[str, str], ...] = ()

    @property
    def class_names(self) -> list[str]:
        """The classes that have images, sorted, as a class list calls their folders."""
        return sorted({name for _, _, name in self.rows()})

    def renamed(self, classes: Sequence[ImageClass]) -> ParquetImages:
        """The same, with its classes called as the class list calls their folders.

        Raises:
            InputError: two of its classes are one of the list.
        """
        found = named_folders(self.class_names, classes)
        doubles = [folder for folder, count in Counter(found.values()).items() if count > 1]
        if doubles:
            names = [name for name, folder in found.items() if folder == doubles[0]]
            raise InputError(f"{self.folder} has two classes of one name, {listed(names)}. Merge them.")
        return ParquetImages(
            self.folder, self.files, self.image, self.label, self.names, tuple((f, n) for n, f in found.items())
        )

    def rows(self) -> Iterator[tuple[str, int, str]]:
        """(file, row in it, class) of every image, in order; the class as a class list calls its folder."""
        folders = {name: folder for folder, name in self.spelled}
        for file, row, name in self._rows:
            yield file, row, folders.get(name, name)

    @cached_property
    def _rows(self) -> list[tuple[str, int, str]]:
        return [
            (file, row, class_name(value, self.names, str(self.folder / file)))
            for file in self.files
            for row, value in enumerate(_column(self.folder / file, self.label))
        ]


def parquet_images(path: Path, image: str = "", label: str = "", names: Sequence[str] = ()) -> ParquetImages:
    """The images of a Parquet file, or of all in a folder.

    Args:
        path: the file or folder.
        image: the column of images; "": one that is called as such columns are.
        label: the column of labels, likewise.
        names: of the classes by number; else they are taken from the file (`ClassLabel` of `datasets`).

    Raises:
        InputError: there are no such files, or they have no such columns.
    """
    files = [path] if path.is_file() else sorted(path.glob("**/*.parquet"))
    files = [file for file in files if not file.name.startswith(".")]
    if not files:
        raise InputError(f"There are no Parquet files in {path}.")
    schema = _read(files[0], pq.read_schema)
    images = [field.name for field in schema if _holds_images(field.type)]
    labels = [field.name for field in schema if _holds_labels(field.type)]
    image = image_column(image, images, str(files[0]))
    label = label_column(label, labels, str(files[0]))
    known = tuple(as_utf8(name) for name in names) or _class_names(schema, label)
    if pa.types.is_integer(schema.field(label).type) and not known:
        raise InputError(
            f"The labels in {files[0]} are numbers without names. Give --label-names FILE, a class a line from 0 on."
        )
    if double := [name for name, count in Counter(known).items() if count > 1]:
        raise InputError(f"{files[0]} has two classes called {double[0]}. Give --label-names FILE with other names.")
    root = path.parent if path.is_file() else path
    return ParquetImages(root, tuple(file.relative_to(root).as_posix() for file in files), image, label, known)


def is_parquet(path: Path) -> bool:
    """Whether a path is a Parquet file, or a folder of such."""
    return path.suffix == ".parquet" or (path.is_dir() and any(path.glob("*.parquet")))


def parquet_contents(folder: Path, column: str, places: Sequence[Sequence[Any]]) -> Iterator[bytes | None]:
    """The encoded bytes of images at (file, row), each None where there are none.

    Rows that stand together are read together: a row group is in memory at once.

    Raises:
        InputError: a file cannot be read.
    """
    group: range = range(0)
    values: list[Any] = []
    opened: tuple[str, pq.ParquetFile] | None = None
    for file, row in places:
        if opened is None or opened[0] != file:
            opened, group = (file, _read(folder / file, pq.ParquetFile)), range(0)
        if row not in group:
            group, values = _read(folder / file, lambda _, at=row, of=opened[1]: _row_group(of, at, column))
        value = values[row - group.start]
        yield value.get("bytes") if isinstance(value, dict) else value


def _row_group(file: pq.ParquetFile, row: int, column: str) -> tuple[range, list[Any]]:
    first = 0
    for number in range(file.num_row_groups):
        count = file.metadata.row_group(number).num_rows
        if row < first + count:
            return range(first, first + count), file.read_row_group(number, columns=[column])[column].to_pylist()
        first += count
    raise IndexError(f"it has {first} rows, not {row + 1}")


def _column(path: Path, name: str) -> list[Any]:
    values: list[Any] = _read(path, lambda file: pq.read_table(file, columns=[name])[name].to_pylist())
    return values


def _read(path: Path, how: Any) -> Any:
    try:
        return how(path)
    except (OSError, pa.ArrowException, KeyError, IndexError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}.") from error


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_bytes(field.type) for field in kind)
    return _is_bytes(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _holds_labels(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _class_names(schema: pa.Schema, label: str) -> tuple[str, ...]:
    """The names of a `ClassLabel` that `datasets` has written into the file."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(as_utf8(str(name)) for name in features[label]["names"])
    except (KeyError, ValueError, TypeError):
        return ()

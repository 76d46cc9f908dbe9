"""What a Ray Data task of an import does: reads the pictures of a shard, decodes each, and writes the shard."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datagen.core.errors import InputError
from datagen.core.files import write_json
from datagen.datasets.decoding import CorruptError
from datagen.datasets.pictures import checked_picture
from datagen.datasets.shards import ImageRow, write_shard
from datagen.importing.parquet import parquet_contents

REPORTS = ".import"
"""Sub-folder of an unfinished split with a report on each finished shard; gone once the split is published."""
READERS = 4
"""Threads that read ahead of the decoding in each task, for file systems that answer slowly."""
COUNTS = ("converted", "resized", "turned", "tiny")
"""What a report counts of `Picture`."""


def import_shard(row: dict[str, Any], source: Path, folder: Path, class_names: Sequence[str]) -> dict[str, Any]:
    """Makes the shard that `row["task"]` describes, then its report; returns the report as JSON.

    Mistakes of the user's come back as {"error": sentence}: raised here, Ray would retry them and show a traceback.
    """
    task = json.loads(row["task"])
    rows: list[ImageRow] = []
    report: dict[str, Any] = {"digest": task["digest"], **dict.fromkeys(COUNTS, 0), "corrupt": [], "contents": []}
    try:
        with _contents(source, task) as contents:
            for (_, path, label, index, *_), data in zip(task["files"], contents, strict=True):
                try:
                    picture = checked_picture(data, task["resize"])
                except CorruptError as error:
                    report["corrupt"].append({"file": path, "label": label, "reason": str(error)})
                    continue
                rows.append(ImageRow(picture.encoded, path, label, class_names[label], index))
                report["contents"].append([content_key(picture.encoded), label, path])
                for count in COUNTS:
                    report[count] += getattr(picture, count)
        record = write_shard(folder / task["shard"], rows, class_names)
        report["record"] = vars(record)
        # After the shard: a shard without a report is made again, and none is ever without one in a published set.
        write_json(folder / REPORTS / f"{task['shard']}.json", report)
    except (OSError, InputError) as error:
        # What cannot be read was made an InputError without a cause by `_content`: an OSError is about writing.
        cause = error if isinstance(error, OSError) else error.__cause__
        sentence = str(cannot_write(folder / task["shard"], cause) if isinstance(cause, OSError) else error)
        return {"report": json.dumps({"error": sentence})}
    return {"report": json.dumps(report)}


@contextmanager
def _contents(source: Path, task: Mapping[str, Any]) -> Iterator[Iterable[bytes | None]]:
    """The bytes of the task's pictures, in order."""
    if column := task.get("image_column"):
        yield parquet_contents(source, column, [item[0] for item in task["files"]])
        return
    with ThreadPoolExecutor(READERS) as readers:
        yield readers.map(lambda item: _content(source / item[0], item[4]), task["files"])


def content_key(encoded: bytes) -> str:
    """What tells a picture's bytes from all others': 24 hexadecimal digits."""
    return hashlib.blake2b(encoded, digest_size=12).hexdigest()


def cannot_write(path: Path, error: OSError) -> InputError:
    """The sentence for a folder or disk that takes no more."""
    return InputError(f"Cannot write {path}: {error.strerror or error}. Free space, or choose another --out.")


def _content(path: Path, size: int) -> bytes | None:
    """A file's bytes, None if there is none. A disk that cannot be read is no fault of the picture's."""
    try:
        return path.read_bytes() if size >= 0 else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}. Fix it, then give the same command again.") from None

"""Files are written whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from datagen.core.files import write_json, write_text, written_whole
from tests.conftest import ROOT


def test_a_file_is_replaced_only_when_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with written_whole(path) as aside:
        aside.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_was_there_stays_and_nothing_is_left_when_writing_fails(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(type(error)):
        with written_whole(path) as aside:
            aside.write_text("half")
            raise error
    assert path.read_text() == "before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_the_bytes_are_on_the_disk_before_the_file_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flushed = tmp_path / "file", []

    def fsync(descriptor: int) -> None:
        assert not path.exists()
        flushed.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(path, "12345")
    assert flushed == [5]


def test_threads_that_write_one_file_leave_one_of_their_versions(tmp_path: Path) -> None:
    path = tmp_path / "values.json"

    def write(number: int) -> None:
        for _ in range(20):
            write_json(path, [number] * 1000)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            assert len(set(json.loads(path.read_text()))) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["values.json"]


def test_text_is_utf8_in_any_locale(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from datagen.core.files import write_text;"
        "write_text(Path(sys.argv[1]), 'Gr\\u00f6\\u00dfe \\u2192 \\u00b1')"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    subprocess.run([sys.executable, "-c", code, tmp_path / "text"], cwd=ROOT, env=environment, check=True)
    assert (tmp_path / "text").read_bytes().decode() == "Größe → ±"

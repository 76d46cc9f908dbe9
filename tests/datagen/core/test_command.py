"""Every command tells a mistake in one sentence, ends with the exit code it documents, and prints what it is given."""

from __future__ import annotations

import ast
import errno
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from datagen.core.command import command_line, errors_in_a_sentence, in_this_shell
from datagen.core.errors import InputError, UnfinishedError
from datagen.core.terminal import plain_console
from tests.conftest import ROOT

ODD = "runs [v2] x[/y] :cat: it's"
COMMANDS = {
    "orchestrator.sweep": "orchestrator/sweep.py",
    "orchestrator.report": "orchestrator/report.py",
    "orchestrator.representations": "orchestrator/representations.py",
    "orchestrator.clean": "orchestrator/clean.py",
    "datagen.generate": "datagen/generate.py",
    "datagen.fetch": "datagen/fetch.py",
    "datagen.prompts": "datagen/prompts.py",
    "datagen.preview": "datagen/preview.py",
    "datagen.import_images": "datagen/import_images.py",
    "datagen.measure": "datagen/measure.py",
    "trainables.models": "trainables/models/__main__.py",
}


def raising(error: BaseException) -> Callable[[], None]:
    @errors_in_a_sentence
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (InputError(f"There is no store in {ODD}."), 2, f"Error: There is no store in {ODD}."),
        (OSError(errno.ENOSPC, "No space left on device", "a/b"), 2, "Error: No space left on device (a/b). Fix it, "),
        (UnfinishedError("3 images could not be made"), 1, "Error: 3 images could not be made. The same command "),
        (KeyboardInterrupt(), 130, "Interrupted. The same command goes on where this one stopped."),
    ],
)
def test_a_failure_is_one_sentence_and_the_documented_exit_code(
    error: BaseException, code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        raising(error)()
    assert ended.value.code == code
    told = capsys.readouterr().err
    assert told.startswith(sentence)
    assert told.count("\n") == 1


def test_a_fault_of_the_program_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        raising(ZeroDivisionError())()


@pytest.mark.parametrize("module", COMMANDS)
def test_every_command_has_the_one_error_block_and_no_other(module: str) -> None:
    tree = ast.parse((ROOT / COMMANDS[module]).read_text(encoding="utf-8"))
    (main,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    assert "errors_in_a_sentence" in [ast.unparse(decorator) for decorator in main.decorator_list]
    assert not [node for node in ast.walk(main) if isinstance(node, ast.Try)]


def test_only_one_file_makes_consoles() -> None:
    made = re.compile(r"\bConsole\(")
    folders = ("orchestrator", "trainables", "datagen", "benchmarks")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert [path.name for path in files if made.search(path.read_text(encoding="utf-8"))] == ["terminal.py"]


def test_what_a_user_wrote_is_printed_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    console = plain_console(file=io.StringIO(), width=200)
    console.print(f"Report: {ODD}")
    assert console.file.getvalue() == f"Report: {ODD}\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("program", "begun"), [("/bin/mindgap", ["mindgap"]), ("/x/sweep.py", ["python", "-m", "orchestrator.sweep"])]
)
def test_the_command_to_repeat_is_quoted_for_the_shell(
    program: str, begun: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["sweep", "mixing", "--store", ODD]
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    assert shlex.split(command_line("orchestrator.sweep")) == [*begun, *arguments]


SPEAKER = """
from datagen.core.command import errors_in_a_sentence
from datagen.core.terminal import console_for_output
from pathlib import Path

@errors_in_a_sentence
def main():
    for number in range(20000):
        print("line", number)
    console_for_output().print("± 1 → 2")
    Path("ended").write_text("yes", encoding="utf-8")

main()
"""


def spoken(folder: Path, shell: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    (folder / "speaker.py").write_text(SPEAKER, encoding="utf-8")
    command = f"{shlex.quote(sys.executable)} speaker.py"
    values = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shell.format(command)}"],
        cwd=folder,
        env=values,
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize("shell", ["{0} | head -1", "{0} >&-", "{0} >&- 2>&-", "{0} <&- >&- 2>&-"])
def test_a_reader_that_leaves_and_a_closed_stream_are_no_error(shell: str, tmp_path: Path) -> None:
    done = spoken(tmp_path, shell)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "ended").is_file()


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({"PYTHONIOENCODING": "ascii"}, b"? 1 ? 2"),
        ({"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, b"? 1 ? 2"),
        ({"PYTHONIOENCODING": "latin-1"}, b"\xb1 1 ? 2"),
        ({"PYTHONIOENCODING": "utf-8"}, "± 1 → 2".encode()),
    ],
)
def test_a_terminal_gets_what_it_can_show(environment: dict[str, str], shown: bytes, tmp_path: Path) -> None:
    done = spoken(tmp_path, "{0}", **environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.splitlines()[-1] == shown


def test_a_command_that_is_shown_runs_in_the_shell_that_it_is_shown_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = tmp_path / "env" / "bin", tmp_path / "other"
    for folder in (own, other):
        folder.mkdir(parents=True)
        (folder / "python").touch(mode=0o755)
    (own / "mlflow").touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(own / "python"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(own))
    assert in_this_shell("mlflow ui") == "mlflow ui"
    monkeypatch.setenv("PATH", str(other))
    assert in_this_shell("mlflow ui") == "env/bin/mlflow ui"
    assert in_this_shell("python -m x y") == "env/bin/python -m x y", "another Python is not ours"
    assert in_this_shell("ray status") == "ray status", "what is not beside ours is left to the shell"
    monkeypatch.chdir("/")
    assert in_this_shell("mlflow ui").endswith("env/bin/mlflow ui")

"""Progress tells images done, rate and time left: by rich's bar on a terminal, else in plain lines."""

from __future__ import annotations

import io
import time

import pytest

from datagen.core import progress as module
from datagen.core.progress import ImageProgress
from datagen.core.terminal import plain_console
from datagen.pocket.making.progress import Meter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that rich sees."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_it_tells_images_done_rate_and_time_left(clock: list[float]) -> None:
    progress = ImageProgress(plain_console(file=io.StringIO()), "looking for the files")
    assert progress.line() == "looking for the files"
    progress(1000, 9000)  # what an earlier run made counts as done, not as speed
    assert progress.line() == "1,000 of 9,000 images, workers are busy with the first ones"
    for done in (2000, 3000, 4000):
        clock[0] += 10
        progress(done, 9000)
    assert progress.line() == "4,000 of 9,000 images, 100 images/s, about 0:50 left"


def test_without_a_terminal_it_is_plain_lines_that_come_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.HEARTBEAT_SECONDS <= 5
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.05)
    out = io.StringIO()
    with ImageProgress(plain_console(file=out)) as progress:
        progress(2, 4)
        time.sleep(0.3)
    assert out.getvalue().count("2 of 4 images") >= 2
    assert "\x1b" not in out.getvalue()


def test_on_a_terminal_it_is_a_bar_that_goes_away() -> None:
    out = io.StringIO()
    with ImageProgress(plain_console(file=out, force_terminal=True, width=100), name="drawing") as progress:
        progress(2, 4, "(loss 0.5)")
        time.sleep(0.3)
    shown = out.getvalue()
    assert "━" in shown and "2 of 4 images" in shown and "(loss 0.5)" in shown and "drawing" in shown
    assert shown.endswith("\x1b[2K")  # the line is erased


def test_a_script_of_the_pocket_ends_with_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    meter = Meter("oracle", 20)
    meter.advance(10, "(loss 2)")
    meter.advance(10, "(loss 1)")
    shown = capsys.readouterr().out
    assert shown.startswith("oracle: 20 of 20 images") and shown.endswith("(loss 1)\n")
    assert meter.core_seconds >= 0 and meter.images_per_core_second > 0

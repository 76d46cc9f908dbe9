"""Progress lines and cost accounting for the scripts of the pocket world."""

import time
from dataclasses import dataclass, field

SECONDS_BETWEEN_LINES = 3.0
"""Short enough that a line appears at least every 5 seconds, as the longest step takes 1.4 seconds."""


@dataclass
class Meter:
    """Measures a loop over batches of images and prints a line every few seconds.

    Attributes:
        task: What the lines call the task.
        total: Number of images the whole loop handles.
        done: Number of images handled so far.
    """

    task: str
    total: int
    done: int = 0
    _wall_start: float = field(default_factory=time.monotonic)
    _core_start: float = field(default_factory=time.process_time)
    _last_line: float = field(default_factory=time.monotonic)

    @property
    def core_seconds(self) -> float:
        """Processor time this process has spent since the meter was made, in seconds."""
        return time.process_time() - self._core_start

    @property
    def images_per_core_second(self) -> float:
        """Rate so far, in images per second of processor time."""
        return self.done / max(self.core_seconds, 1e-9)

    def advance(self, images: int, note: str = "") -> None:
        """Count images as done, and print a line if the last one is old or the task is complete.

        Args:
            images: Number of images just handled.
            note: What to add to the line, such as the loss.
        """
        self.done += images
        now = time.monotonic()
        if now - self._last_line < SECONDS_BETWEEN_LINES and self.done < self.total:
            return
        self._last_line = now
        elapsed = max(now - self._wall_start, 1e-9)
        rate = self.done / elapsed
        left = (self.total - self.done) / rate
        print(
            f"{self.task}: {self.done} of {self.total} images, {rate:.0f} images/s, {left:.0f} s left {note}".rstrip(),
            flush=True,
        )

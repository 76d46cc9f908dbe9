"""Progress and cost accounting for the scripts of the pocket world."""

import atexit
import time

from datagen.core.progress import ImageProgress
from datagen.core.terminal import plain_console


class Meter:
    """Measures a loop over batches of images, and shows how far it is.

    Attributes:
        total: Number of images the whole loop handles.
        done: Number of images handled so far.
    """

    def __init__(self, task: str, total: int) -> None:
        self.total, self.done = total, 0
        self._core_start = time.process_time()
        self._shown = ImageProgress(plain_console(), name=task)
        self._shown(0, total)
        self._shown.start()
        atexit.register(self._shown.stop)  # A script that fails gives the terminal its cursor back.

    @property
    def core_seconds(self) -> float:
        """Processor time this process has spent since the meter was made, in seconds."""
        return time.process_time() - self._core_start

    @property
    def images_per_core_second(self) -> float:
        """Rate so far, in images per second of processor time."""
        return self.done / max(self.core_seconds, 1e-9)

    def advance(self, images: int, note: str = "") -> None:
        """Count images as done.

        Args:
            images: Number of images just handled.
            note: What to add to the line, such as the loss.
        """
        self.done += images
        self._shown(self.done, self.total, note)
        if self.done >= self.total:
            self._shown.stop()
            print(self._shown.line(), flush=True)

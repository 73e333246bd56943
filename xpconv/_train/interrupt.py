"""Take Ctrl-C kindly: the running step is finished, and what was learned is kept."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any


class Interruptible:
    """Turn the first Ctrl-C of a block into a flag, so that a step is finished; a second one interrupts as ever.

    Calling the object asks whether there was one. Outside the main thread, or where the signal is ignored, as
    under nohup, nothing is changed.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __call__(self) -> bool:
        """Say whether there was a Ctrl-C."""
        return self.asked

    def __enter__(self) -> Interruptible:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            try:
                self._before = signal.signal(signal.SIGINT, self._note)
            except ValueError:  # only the main thread may set a handler
                self._before = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

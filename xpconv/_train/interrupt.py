"""Take Ctrl-C and SIGTERM kindly: the running step is finished, and what was learned is kept."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

# signal -> the handler that stands where nobody has set one
TAKEN = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class Interruptible:
    """Turn the first Ctrl-C or SIGTERM of a block into a flag, so that a step is finished; a second one ends as ever.

    Calling the object asks whether there was one. Outside the main thread, or where a signal is ignored or taken by
    somebody else, as under nohup, nothing is changed.
    """

    def __init__(self) -> None:
        self.number = 0  # of the signal that came
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self) -> bool:
        """Say whether there was one."""
        return self.number != 0

    @property
    def status(self) -> int:
        """The exit status that tells of the signal: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + (self.number or signal.SIGINT)

    def __enter__(self) -> Interruptible:
        for number, usual in TAKEN.items():
            if signal.getsignal(number) is usual:
                try:
                    self._before[number] = signal.signal(number, self._note)
                except ValueError:  # only the main thread may set a handler
                    return self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self._give_back()

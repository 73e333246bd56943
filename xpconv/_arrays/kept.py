"""Constants that stay on their devices: copied there once, however often they are asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

from xpconv._arrays.types import MIB, Array

BLOCK = 512  # bytes that a device's pool gives at least


class Kept:
    """Arrays of each device by their values, the oldest first; at most so many of so many bytes on one device.

    Where one more would be beyond that the older half goes. An array that a call still holds stays as it is, and before
    the memory of the others may be written to, the device has done what reads it, on whatever stream.
    """

    def __init__(self, most: int = 4096, room: int = 64 * MIB) -> None:
        self.most, self.room = most, room
        self._found: dict[Hashable, dict[Hashable, Array]] = {}
        self._bytes: dict[Hashable, int] = {}
        self._lock = threading.Lock()

    def get(self, device: Hashable, values: Hashable, make: Callable[[], Array], wait: Callable[[], None]) -> Array:
        """Give the array of these values, made if it is not there; `wait` until the device has nothing left to do."""
        with self._lock:
            own = self._found.setdefault(device, {})
            found = own.get(values)
            if found is None:
                found = make()
                if (size := _size(found)) <= self.room:
                    used = self._bytes.get(device, 0)
                    if len(own) >= self.most or used + size > self.room:
                        wait()
                        used -= self._let_go(own, used, size)
                    own[values], self._bytes[device] = found, used + size
            return found

    def _let_go(self, own: dict[Hashable, Array], used: int, coming: int) -> int:
        """Let the oldest go until half of the number and of the bytes are left, or room for what comes; count bytes."""
        gone = 0
        while own and (len(own) > self.most // 2 or used - gone > min(self.room // 2, self.room - coming)):
            gone += _size(own.pop(next(iter(own))))
        return gone

    def bytes(self, device: Hashable) -> int:
        """Count the bytes that are kept on a device."""
        return self._bytes.get(device, 0)

    def clear(self) -> None:
        """Let all go."""
        with self._lock:
            self._found.clear()
            self._bytes.clear()


def _size(array: Array) -> int:
    return max(-(-int(array.nbytes) // BLOCK) * BLOCK, BLOCK)

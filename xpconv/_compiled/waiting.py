"""Wait for a number that another thread writes, outside the interpreter's lock.

`teach` tells Numba how threads read and write such numbers: a compiler that knows of one thread reads a number once.
"""

from __future__ import annotations

import platform
from typing import Any

Array = Any


def wait(number: Array, other: Array, turns: int, after: int) -> None:
    """Write 1 into the other number, then look at the first until it is not 0, so many times at most.

    When it is not 0, `after` turns go by before it ends.
    """
    tell(other)
    for _ in range(turns):
        if look(number) != 0:
            for _ in range(after):
                pause()
            return
        pause()


def look(number: Array) -> int:
    """Read a number that another thread writes."""
    return int(number[0])


def tell(number: Array) -> None:
    """Write a 1 for another thread that looks."""
    number[0] = 1


def pause() -> None:
    """Leave the core to its other thread for a moment, where it has two."""


def teach() -> None:
    """Let Numba compile the functions above; once."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic, overload

    def place(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    @intrinsic  # type: ignore[untyped-decorator]
    def _look(typing: Any, number: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            at = place(context, builder, signature, arguments)
            return builder.load_atomic(at, "seq_cst", number.dtype.bitwidth // 8)

        return number.dtype(number), build

    @intrinsic  # type: ignore[untyped-decorator]
    def _tell(typing: Any, number: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            at = place(context, builder, signature, arguments)
            builder.store_atomic(at.type.pointee(1), at, "seq_cst", number.dtype.bitwidth // 8)
            return context.get_dummy_value()

        return types.void(number), build

    @intrinsic  # type: ignore[untyped-decorator]
    def _pause(typing: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            machine, hint = platform.machine().lower(), ir.IntType(32)
            if machine in ("x86_64", "amd64"):
                kind = ir.FunctionType(ir.VoidType(), [])
                builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
            elif machine in ("aarch64", "arm64"):
                kind, once = ir.FunctionType(ir.VoidType(), [hint]), ir.Constant(hint, 1)  # its instruction "yield"
                builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.aarch64.hint"), [once])
            return context.get_dummy_value()

        return types.void(), build

    overload(look)(lambda number: lambda number: _look(number))
    overload(tell)(lambda number: lambda number: _tell(number))
    overload(pause)(lambda: lambda: _pause())

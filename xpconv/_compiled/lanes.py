"""Vectors of eight numbers, which a loop holds in registers: a compiler that is given one number at a time finds few.

Here they are slices, so that loops with them are plain Python too; `teach` tells Numba what each is on the machine.
A place counts numbers of an array of one axis. Nothing is checked: a loop knows that its places lie inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any
Vector = Any
Mask = Any

LANES = 8


def load(array: Array, at: int) -> Vector:
    """Read neighbouring numbers."""
    return array[at : at + LANES]


def store(array: Array, at: int, vector: Vector) -> None:
    """Write neighbouring numbers."""
    array[at : at + LANES] = vector


def turn(array: Array, at: int, step: int, vectors: tuple[Vector, ...]) -> None:
    """Write the first numbers of eight vectors side by side, the second ones so many places on, and so forth."""
    for k in range(LANES):
        array[at + k * step : at + k * step + LANES] = [vector[k] for vector in vectors]


def put(array: Array, at: int, number: Any) -> None:
    """Write a number."""
    array[at] = number


def move(target: Array, at: int, source: Array, first: int) -> None:
    """Copy a number."""
    target[at] = source[first]


def prefetch(array: Array, at: int) -> None:
    """Ask for a number that is read soon; nothing happens where there is none."""


def flat(array: Array) -> Array:
    """Give an array as places from its first number on count, whatever lies in between."""
    extent = sum((size - 1) * step for size, step in zip(array.shape, array.strides, strict=True)) // array.itemsize
    return np.lib.stride_tricks.as_strided(array, (extent + 1,), (array.itemsize,))


def splat(array: Array, at: int) -> Vector:
    """Read a number into every lane."""
    return np.full(LANES, array[at], array.dtype)


def halves(array: Array, at: int, other: int) -> Vector:
    """Read a number into the first four lanes, another one into the others."""
    return np.repeat(array[[at, other]], LANES // 2)


def fma(x: Vector, y: Vector, total: Vector) -> Vector:
    """Multiply and add, rounded once where the machine has that."""
    return total + x * y


def add(x: Vector, y: Vector) -> Vector:
    """Add."""
    return x + y


def multiply(x: Vector, y: Vector) -> Vector:
    """Multiply."""
    return x * y


def divide(x: Vector, y: Vector) -> Vector:
    """Divide."""
    return x / y


def magnitude(x: Vector) -> Vector:
    """Give absolute values."""
    return np.abs(x)


def root(x: Vector) -> Vector:
    """Give square roots."""
    return np.sqrt(x)


def zeros(array: Array) -> Vector:
    """Begin a sum, in the dtype of an array."""
    return np.zeros(LANES, array.dtype)


def fill(array: Array, number: Any) -> Vector:
    """Give a number in every lane, in the dtype of an array."""
    return np.full(LANES, number, array.dtype)


def larger(x: Vector, y: Vector) -> Vector:
    """Take the larger one in each lane: of equal ones the second, of NaNs the first, as NumPy's ``maximum`` does."""
    return np.where((y < x) | (x != x), x, y)


def above(x: Vector, y: Vector) -> Mask:
    """Say in which lanes a number is greater than the first maximum so far, or the first NaN."""
    return ~((x <= y) | (y != y))


def same(x: Vector, y: Vector) -> Mask:
    """Say which lanes are equal."""
    return x == y


def choose(mask: Mask, x: Vector, y: Vector) -> Vector:
    """Take the first vector's number where the mask says so, the second one's elsewhere."""
    return np.where(mask, x, y)


def teach() -> None:
    """Let Numba compile the functions above to instructions on vectors; once."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic, models, overload, register_model

    class VectorType(types.Type):  # type: ignore[misc]
        """Numba's name of a vector."""

        def __init__(self, dtype: Any) -> None:
            self.dtype = dtype
            super().__init__(f"Vector({dtype})")

    @register_model(VectorType)
    class VectorModel(models.PrimitiveModel):  # type: ignore[misc]
        """An LLVM vector."""

        def __init__(self, manager: Any, kind: Any) -> None:
            super().__init__(manager, kind, ir.VectorType(manager.lookup(kind.dtype).get_value_type(), LANES))

    class MaskType(types.Type):  # type: ignore[misc]
        """Numba's name of what a comparison of vectors gives."""

        def __init__(self) -> None:
            super().__init__("Mask")

    @register_model(MaskType)
    class MaskModel(models.PrimitiveModel):  # type: ignore[misc]
        """An LLVM vector of bits."""

        def __init__(self, manager: Any, kind: Any) -> None:
            super().__init__(manager, kind, ir.VectorType(ir.IntType(1), LANES))

    def pointer(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
        data = context.make_array(kind)(context, builder, array).data
        return builder.gep(data, [at])

    def spread(builder: Any, number: Any, lanes: int = LANES) -> Any:
        vector = ir.VectorType(number.type, LANES)
        whole = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(whole, ir.Constant(vector, ir.Undefined), mask)

    def function_of(builder: Any, name: str, *vectors: Any) -> Any:
        """Call LLVM's own function of vectors."""
        kind = vectors[0].type
        kinds = ir.FunctionType(kind, [kind] * len(vectors))
        bits = 32 if isinstance(kind.element, ir.FloatType) else 64
        return builder.call(
            cgutils.get_or_insert_function(builder.module, kinds, f"llvm.{name}.v{LANES}f{bits}"), vectors
        )

    @intrinsic  # type: ignore[untyped-decorator]
    def _load(typing: Any, array: Any, at: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = pointer(context, builder, signature.args[0], *arguments)
            vector = ir.VectorType(place.type.pointee, LANES)
            return builder.load(builder.bitcast(place, vector.as_pointer()), align=array.dtype.bitwidth // 8)

        return VectorType(array.dtype)(array, types.intp), build

    @intrinsic  # type: ignore[untyped-decorator]
    def _store(typing: Any, array: Any, at: Any, vector: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array_value, index, value = arguments
            place = pointer(context, builder, signature.args[0], array_value, index)
            target = builder.bitcast(place, value.type.as_pointer())
            builder.store(value, target, align=array.dtype.bitwidth // 8)
            return context.get_dummy_value()

        return types.void(array, types.intp, vector), build

    @intrinsic  # type: ignore[untyped-decorator]
    def _turn(typing: Any, array: Any, at: Any, step: Any, vectors: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array_value, index, distance, whole = arguments
            rows = cgutils.unpack_tuple(builder, whole, LANES)
            kind = rows[0].type

            def mixed(one: Any, other: Any, order: tuple[int, ...]) -> Any:
                return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(ir.IntType(32), LANES), order))

            # what one instruction does with halves of four numbers: numbers alternate, then pairs, then the halves
            for size, low, high in (
                (1, (0, 8, 1, 9, 4, 12, 5, 13), (2, 10, 3, 11, 6, 14, 7, 15)),
                (2, (0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15)),
                (4, (0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15)),
            ):
                found = list(rows)
                for k in range(LANES):
                    if k // size % 2 == 0:
                        pair = rows[k], rows[k + size]
                        first = k // (2 * size) * 2 * size + (2 * (k % size) if size == 2 else k % size)
                        second = first + (size if size != 2 else 1)
                        found[first], found[second] = mixed(*pair, low), mixed(*pair, high)
                rows = found
            for row in rows:
                place = pointer(context, builder, signature.args[0], array_value, index)
                builder.store(row, builder.bitcast(place, kind.as_pointer()), align=array.dtype.bitwidth // 8)
                index = builder.add(index, distance)
            return context.get_dummy_value()

        return types.void(array, types.intp, types.intp, vectors), build

    @intrinsic  # type: ignore[untyped-decorator]
    def _put(typing: Any, array: Any, at: Any, number: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array_value, index, value = arguments
            builder.store(value, pointer(context, builder, signature.args[0], array_value, index))
            return context.get_dummy_value()

        return types.void(array, types.intp, array.dtype), build

    @intrinsic  # type: ignore[untyped-decorator]
    def _move(typing: Any, target: Any, at: Any, source: Any, first: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            target_value, index, source_value, other = arguments
            number = builder.load(pointer(context, builder, signature.args[2], source_value, other))
            builder.store(number, pointer(context, builder, signature.args[0], target_value, index))
            return context.get_dummy_value()

        return types.void(target, types.intp, source, types.intp), build

    @intrinsic  # type: ignore[untyped-decorator]
    def _prefetch(typing: Any, array: Any, at: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
            kinds = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
            function = cgutils.get_or_insert_function(builder.module, kinds, "llvm.prefetch")
            place = pointer(context, builder, signature.args[0], *arguments)
            builder.call(function, [builder.bitcast(place, byte), number(0), number(3), number(1)])  # read, keep, data
            return context.get_dummy_value()

        return types.void(array, types.intp), build

    @intrinsic  # type: ignore[untyped-decorator]
    def _splat(typing: Any, array: Any, at: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return spread(builder, builder.load(pointer(context, builder, signature.args[0], *arguments)))

        return VectorType(array.dtype)(array, types.intp), build

    @intrinsic  # type: ignore[untyped-decorator]
    def _halves(typing: Any, array: Any, at: Any, other: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            value, first, second = arguments
            kind = signature.args[0]
            low, high = (
                spread(builder, builder.load(pointer(context, builder, kind, value, at))) for at in (first, second)
            )
            mask = [*range(LANES // 2), *range(LANES + LANES // 2, 2 * LANES)]
            return builder.shuffle_vector(low, high, ir.Constant(ir.VectorType(ir.IntType(32), LANES), mask))

        return VectorType(array.dtype)(array, types.intp, types.intp), build

    @intrinsic  # type: ignore[untyped-decorator]
    def _fma(typing: Any, x: Any, y: Any, total: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return function_of(builder, "fmuladd", *arguments)

        return x(x, y, total), build

    @intrinsic  # type: ignore[untyped-decorator]
    def _add(typing: Any, x: Any, y: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.fadd(*arguments)

        return x(x, y), build

    @intrinsic  # type: ignore[untyped-decorator]
    def _divide(typing: Any, x: Any, y: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.fdiv(*arguments)

        return x(x, y), build

    @intrinsic  # type: ignore[untyped-decorator]
    def _multiply(typing: Any, x: Any, y: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.fmul(*arguments)

        return x(x, y), build

    @intrinsic  # type: ignore[untyped-decorator]
    def _magnitude(typing: Any, x: Any) -> Any:
        return x(x), lambda context, builder, signature, arguments: function_of(builder, "fabs", *arguments)

    @intrinsic  # type: ignore[untyped-decorator]
    def _root(typing: Any, x: Any) -> Any:
        return x(x), lambda context, builder, signature, arguments: function_of(builder, "sqrt", *arguments)

    @intrinsic  # type: ignore[untyped-decorator]
    def _fill(typing: Any, array: Any, number: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return spread(builder, context.cast(builder, arguments[1], number, array.dtype))

        return VectorType(array.dtype)(array, number), build

    @intrinsic  # type: ignore[untyped-decorator]
    def _larger(typing: Any, x: Any, y: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            one, other = arguments
            found = builder.select(builder.fcmp_ordered(">", one, other), one, other)
            if builder.module.triple.startswith("x86_64"):  # one instruction, unless LLVM joins the conditions
                found = function_of(builder, "arithmetic.fence", found)
            return builder.select(builder.fcmp_unordered("uno", one, one), one, found)

        return x(x, y), build

    @intrinsic  # type: ignore[untyped-decorator]
    def _above(typing: Any, x: Any, y: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            one, other = arguments
            number = builder.fcmp_ordered("ord", other, other)
            return builder.and_(builder.fcmp_unordered(">", one, other), number)

        return MaskType()(x, y), build

    @intrinsic  # type: ignore[untyped-decorator]
    def _same(typing: Any, x: Any, y: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            if isinstance(x.dtype, types.Integer):
                return builder.icmp_signed("==", *arguments)
            return builder.fcmp_ordered("==", *arguments)

        return MaskType()(x, y), build

    @intrinsic  # type: ignore[untyped-decorator]
    def _choose(typing: Any, mask: Any, x: Any, y: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.select(*arguments)

        return x(mask, x, y), build

    @intrinsic  # type: ignore[untyped-decorator]
    def _zeros(typing: Any, array: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return ir.Constant(context.get_value_type(signature.return_type), [0.0] * LANES)

        return VectorType(array.dtype)(array), build

    # Numba asks with an implementation's signature which function of a call is meant
    overload(load)(lambda array, at: lambda array, at: _load(array, at))
    overload(store)(lambda array, at, vector: lambda array, at, vector: _store(array, at, vector))
    overload(turn)(lambda array, at, step, vectors: lambda array, at, step, vectors: _turn(array, at, step, vectors))
    overload(move)(lambda target, at, source, first: lambda target, at, source, first: _move(target, at, source, first))
    overload(put)(lambda array, at, number: lambda array, at, number: _put(array, at, number))
    overload(prefetch)(lambda array, at: lambda array, at: _prefetch(array, at))
    overload(flat)(lambda array: lambda array: array)
    overload(splat)(lambda array, at: lambda array, at: _splat(array, at))
    overload(halves)(lambda array, at, other: lambda array, at, other: _halves(array, at, other))
    overload(fma)(lambda x, y, total: lambda x, y, total: _fma(x, y, total))
    overload(add)(lambda x, y: lambda x, y: _add(x, y))
    overload(multiply)(lambda x, y: lambda x, y: _multiply(x, y))
    overload(magnitude)(lambda x: lambda x: _magnitude(x))
    overload(root)(lambda x: lambda x: _root(x))
    overload(divide)(lambda x, y: lambda x, y: _divide(x, y))
    overload(fill)(lambda array, number: lambda array, number: _fill(array, number))
    overload(larger)(lambda x, y: lambda x, y: _larger(x, y))
    overload(above)(lambda x, y: lambda x, y: _above(x, y))
    overload(same)(lambda x, y: lambda x, y: _same(x, y))
    overload(choose)(lambda mask, x, y: lambda mask, x, y: _choose(mask, x, y))
    overload(zeros)(lambda array: lambda array: _zeros(array))

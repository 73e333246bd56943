"""Where the arrays of a call live: the only file that knows libraries by name."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import array_api_compat as compat
import array_api_extra as xpx
import numpy as np

from xpconv._arrays import cublas
from xpconv._arrays.dtypes import cast, check_numeric, dtype_name, native, read_dtype
from xpconv._arrays.kept import Kept
from xpconv._arrays.types import MIB, Array, Device, DType, Namespace, Traits
from xpconv._arrays.views import kernel_to_channels_last, window_steps

# Of 2 to 6 MiB, on 19 layers, on cores with a second-level cache of 1 MiB and a shared third-level one of 32 MiB: 4 MiB
# takes 0.97 to 1.00 of the time of 2 MiB, and 0.5 to 0.8 of it where few channels make the array calls short.
NUMPY = Traits("numpy", mutable=True, strided=True, threads=True, buffers=True, cache=4 * MIB, looks=True)
TORCH = Traits("torch", mutable=True, strided=True, cache=4 * MIB, looks=True, indexed=True, in_order=True)
# Few, large kernels: a host starts one in some 8 us, in which a GPU moves 30 MB, so no cache holds what the last one
# wrote; half of the workspace at the start.
CUPY = Traits(
    "cupy",
    mutable=True,
    strided=True,
    outs=True,
    casts=True,
    overlaps=True,
    cache=512 * MIB,
    kind="cuda",
    indexed=True,
    plans=True,
    keeps=True,
)
PLAIN_CUPY = replace(CUPY, overlaps=False)
TORCH_CUDA = replace(PLAIN_CUPY, name="torch", outs=False, plans=False)
# tensors that stand for many: nothing is written in place
TORCH_MANY = Traits("torch", cache=4 * MIB, indexed=True, in_order=True)
TRACES = ("FakeTensor", "FunctionalTensor")
# on a CPU, too: it runs what a GPU would
DPNP = replace(PLAIN_CUPY, name="dpnp", plans=False, casts=False, kind="sycl")
MOST_WORK = 1000  # candidates that are looked at for an element that two arrays share
DESCRIBED = 80 * 1024 * MIB  # memory of a GPU that is only described
JAX = Traits("jax", indexed=True)
DASK = Traits("dask", lazy=True)
OTHER = Traits("array api")


def _traits(array: Array, device: Device) -> Traits:
    if isinstance(array, np.ndarray):
        return NUMPY
    if compat.is_cupy_array(array):
        return CUPY if cublas.available() else PLAIN_CUPY
    if compat.is_torch_array(array):
        return _torch_traits(array, device)
    if compat.is_jax_array(array):
        return JAX
    if compat.is_dask_array(array):
        return DASK
    if compat.is_dpnp_array(array):
        return DPNP
    return OTHER


def _torch_traits(array: Array, device: Device) -> Traits:
    """Choose what can be done with a tensor, which may stand for many (`vmap`) or be a trace (`torch.export`)."""
    import torch  # it is loaded: the array is its own

    usual = TORCH if str(device).startswith("cpu") else TORCH_CUDA
    stack = torch._C._functorch.get_interpreter_stack()
    if stack and any(level.key() == torch._C._functorch.TransformType.Vmap for level in stack):
        return replace(TORCH_MANY, kind=usual.kind)
    trace = torch.compiler.is_compiling() or type(array).__name__ in TRACES
    if trace or stack:  # what is made here is of this trace, or of this transform
        return replace(usual, looks=usual.looks and not trace, keeps=False)
    return usual


@dataclass(frozen=True, eq=False)
class Space:
    """A library on a device: its namespace, what it can do, and how arrays are made there."""

    xp: Namespace
    traits: Traits
    device: Device | None = None  # None where arrays say nothing of it (NumPy's, and traced ones)

    @cached_property
    def _place(self) -> dict[str, Device]:
        return {} if self.device is None or self.traits is NUMPY else {"device": self.device}

    def empty(self, shape: Sequence[int], dtype: DType, layout: str = "channels_last") -> Array:
        """Allocate a result whose memory has the caller's layout and give it, channels last, for writing."""
        if layout == "channels_last":
            return self.xp.empty(tuple(shape), dtype=dtype, **self._place)
        n, *spatial, c = shape
        return self.xp.moveaxis(self.xp.empty((n, c, *spatial), dtype=dtype, **self._place), 1, -1)

    def empty_kernel(self, shape: Sequence[int], dtype: DType, layout: str = "channels_last") -> Array:
        """Allocate a weight (*kernel, C/G, F) whose memory has the caller's layout."""
        if layout == "channels_last":
            return self.empty(shape, dtype)
        *kernel, depth, filters = shape
        return kernel_to_channels_last(
            self.xp, self.xp.empty((filters, depth, *kernel), dtype=dtype, **self._place), layout
        )

    @property
    def loops(self) -> bool:
        """Whether arrays are traced and a loop can stand in the graph: what is repeated is then compiled once."""
        return self.traits.name == "jax" and self.device is None

    def loop(self, first: int, last: int, step: Callable[[Any, Any], Any], state: Any) -> Any:
        """Give what `step(number, state)` makes of a state, for each number in turn; only where `loops`."""
        from jax import lax  # it is loaded: the arrays are its own

        return lax.fori_loop(first, last, step, state)

    def part(self, array: Array, starts: Sequence[Any], sizes: Sequence[int]) -> Array:
        """Give a part of an array that begins where a loop's number says; only where `loops`."""
        from jax import lax

        return lax.dynamic_slice(array, starts, sizes)

    def put_part(self, array: Array, part: Array, starts: Sequence[Any]) -> Array:
        """Give an array with a part in place of what was there; only where `loops`."""
        from jax import lax

        return lax.dynamic_update_slice(array, part, starts)

    def zeros(self, shape: Sequence[int], dtype: DType) -> Array:
        """Make an array of zeros."""
        return self.xp.zeros(tuple(shape), dtype=dtype, **self._place)

    def full(self, shape: Sequence[int], fill: Any, dtype: DType) -> Array:
        """Make an array of one value."""
        return self.xp.full(tuple(shape), fill, dtype=dtype, **self._place)

    def arange(self, stop: int, dtype: DType) -> Array:
        """Count from 0 to stop - 1."""
        return self.xp.arange(stop, dtype=dtype, **self._place)

    def array(self, values: Any, dtype: DType) -> Array:
        """Move a NumPy array, or a short sequence of Python numbers, to the device."""
        values = values if isinstance(values, np.ndarray) else list(values)
        if self.traits.keeps:
            return self._kept(np.asarray(values), dtype)
        return self.xp.asarray(values, dtype=dtype, **self._place)

    def _kept(self, values: np.ndarray[Any, Any], dtype: DType) -> Array:
        """Give an array on a device that stays there."""
        device, library = self.device, self.traits.name
        assert device is not None

        def make() -> Array:
            # whatever stream reads it, it is there; dpnp and PyTorch wait for what comes from the host anyway
            waiting = {"blocking": True} if library == "cupy" else self._place
            if library != "torch":
                return self.xp.asarray(values, dtype=dtype, **waiting)
            with sys.modules["torch"].inference_mode(False):  # else it could be used in this mode only
                return self.xp.asarray(values, dtype=dtype, **waiting)

        def wait() -> None:
            if library == "cupy":
                device.synchronize()
            elif library == "torch" and str(device).startswith("cuda"):
                sys.modules["torch"].cuda.synchronize(device)

        # CuPy's device has no hash; that of dpnp is equal to none with another queue
        place = self.xp.__name__, device if library == "dpnp" else str(device)
        asked = dtype_name(dtype), values.shape, values.dtype.str, values.tobytes()
        return _KEPT.get(place, asked, make, wait)

    def constant(self, key: Any, values: np.ndarray[Any, Any], dtype: DType) -> Array:
        """Give a small matrix of constants; `key` names it.

        NumPy keeps it: making it anew would cost more than a small call.
        """
        if self.traits is not NUMPY:
            return self.array(values, dtype)
        place = dtype_name(dtype), str(self.device), values.shape, values.dtype.str, values.tobytes()
        found = _CONSTANTS.get(place)
        if found is None:
            while len(_CONSTANTS) >= 256:  # of another kernel: a kilobyte or ten each
                _CONSTANTS.pop(next(iter(_CONSTANTS)), None)
            found = _CONSTANTS[place] = self.array(values, dtype)
        return found

    @cached_property
    def memory(self) -> int | None:
        """Count the bytes of a GPU's memory; None on a host."""
        if self.traits.kind == "sycl" and self.device is not None:
            device = self.device.sycl_device
            return int(device.global_mem_size) if device.is_gpu else None
        if self.traits.kind != "cuda":
            return None
        if self.traits.name == "cupy" and self.device is not None:
            import cupy  # it is loaded: the array is its own

            return int(cupy.cuda.runtime.getDeviceProperties(self.device.id)["totalGlobalMem"])
        if str(self.device).startswith("cuda"):
            import torch  # it is loaded: the array is its own

            return int(torch.cuda.get_device_properties(self.device).total_memory)
        return DESCRIBED

    @cached_property
    def processors(self) -> int:
        """Count the multiprocessors of a GPU."""
        import cupy  # only its arrays are multiplied by strides

        assert self.device is not None
        return int(cupy.cuda.runtime.getDeviceProperties(self.device.id)["multiProcessorCount"])

    @property
    def index_dtype(self) -> DType:
        """Give int64, or what a library without it counts in (JAX with 64-bit types switched off)."""
        if self.traits is NUMPY:
            return self.xp.int64
        return self.xp.__array_namespace_info__().default_dtypes(device=self.device)["indexing"]

    def check_indices(self, function: str, most: int) -> None:
        """Refuse to count so many pixels in an index dtype of 32 bits; there is no other than int64 and that."""
        if most >= 1 << 31 and dtype_name(self.index_dtype) == "int32":
            raise ValueError(
                f"{function}: places in a plane of so many pixels take 64 bits, which {self.traits.name} has switched "
                f"off; got {most} places; switch them on, with jax.config.update('jax_enable_x64', True)"
            )

    @property
    def default_float(self) -> DType:
        """Give the floating dtype that the library makes of integers when it divides them."""
        if self.traits is NUMPY:
            return self.xp.float64
        return self.xp.__array_namespace_info__().default_dtypes(device=self.device)["real floating"]

    @property
    def has_double(self) -> bool:
        """Say whether float64 is there (JAX has it switched off, some devices lack it)."""
        if self.traits is NUMPY:
            return True
        return "float64" in self.xp.__array_namespace_info__().dtypes(device=self.device, kind="real floating")

    def reread(self, array: Array, dtype: DType) -> Array:
        """Read integers as those of another dtype with as many bits, or sums as they are."""
        if array.dtype == dtype:
            return array
        return array.view(dtype) if self.traits.mutable else cast(self.xp, array, dtype)

    def windows(
        self,
        slab: Array,
        kernel: Sequence[int],
        output: Sequence[int],
        stride: Sequence[int],
        dilation: Sequence[int],
    ) -> Array:
        """(n, *slab, C) -> (n, *output, *kernel, C), a view; only where the traits say `strided`.

        CuPy's `sliding_window_view` would wait for the device on every axis, so this is `as_strided` everywhere.
        """
        shape = (slab.shape[0], *output, *kernel, slab.shape[-1])
        if isinstance(slab, np.ndarray):
            steps = window_steps(slab.strides, stride, dilation)
            return np.lib.stride_tricks.as_strided(slab, shape, steps, writeable=False)
        if hasattr(slab, "as_strided"):
            return slab.as_strided(shape, window_steps(slab.stride(), stride, dilation), slab.storage_offset())
        steps = window_steps(slab.strides, stride, dilation)
        if self.traits.name == "dpnp":
            return self.xp.ndarray(shape, dtype=slab.dtype, buffer=slab, strides=steps)
        from cupy.lib.stride_tricks import as_strided  # CuPy is loaded: the slab is its array

        return as_strided(slab, shape, steps)

    def can_write(self, array: Array) -> bool:
        """Say whether results can be written into an array."""
        return self.traits.mutable and (bool(array.flags.writeable) if isinstance(array, np.ndarray) else True)

    def share_memory(self, a: Array, b: Array) -> bool:
        """Say whether two arrays share memory, or where that is much work to find out, whether they may."""
        if isinstance(a, np.ndarray):
            if not np.may_share_memory(a, b):
                return False
            try:
                return np.shares_memory(a, b, max_work=MOST_WORK)  # type: ignore[arg-type] # any number, says NumPy
            except np.exceptions.TooHardError:
                return True
        if self.traits.name == "torch":
            return bool(a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr() != 0)
        if self.traits.name == "cupy":
            import cupy  # it is loaded: the array is its own

            return bool(cupy.may_share_memory(a, b))
        if self.traits.name == "dpnp":
            (low, high), (first, last) = _addresses(a), _addresses(b)
            return low < last and first < high
        return False

    def matmul(self, a: Array, b: Array) -> Array:
        """Multiply matrices in their own dtype, whatever PyTorch's autocast would do."""
        if self.traits.name == "torch":
            import torch  # it is loaded: the array is its own

            kind = a.device.type
            if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
                with torch.autocast(kind, enabled=False):
                    return torch.matmul(a, b)
        return self.xp.matmul(a, b)

    def add_to(self, target: Array, region: tuple[slice, ...], block: Array) -> Array:
        """Add a block to a region of an array that was made in the same call; use the array given back."""
        block = cast(self.xp, block, target.dtype)
        if isinstance(target, np.ndarray):
            view = target[region]
            np.add(view, block, out=view)
            return target
        return xpx.at(target)[region].add(block, xp=self.xp)

    def put_along(self, target: Array, places: Array, values: Array) -> Array:
        """Put values, or the last of them, at places along the middle axis; only where the traits say `in_order`."""
        return sys.modules["torch"].scatter(target, 1, places, values)

    @property
    def adds_in_order(self) -> bool:
        """Say whether `add_along` adds one value after another; a GPU's threads do not."""
        return self.traits.in_order or (self.traits.name == "jax" and _jax_is_on_cpu())

    def add_along(self, target: Array, places: Array, values: Array) -> Array:
        """Add values at places along the middle axis, one after another; only where `adds_in_order`."""
        if self.traits.in_order:
            return sys.modules["torch"].scatter_add(target, 1, places, values)
        n, _, c = places.shape
        image, channel = self.arange(n, places.dtype), self.arange(c, places.dtype)
        spots = self.xp.reshape(image, (n, 1, 1)), places, self.xp.reshape(channel, (1, 1, c))
        return xpx.at(target)[spots].add(values, xp=self.xp)

    def clip(self, array: Array, low: float | None, high: float | None) -> Array:
        """Clip values.

        For CuPy the compatibility layer's own way counts a mask on the host, which waits for the device; CuPy's own
        knows no end of bfloat16 where one is left out.
        """
        if self.traits.name != "cupy":
            return self.xp.clip(array, low, high)
        array = array if low is None else self.xp.maximum(array, low)
        return array if high is None else self.xp.minimum(array, high)

    def sign(self, array: Array) -> Array:
        """Give 1, 0 or -1, or NaN; for CuPy the compatibility layer's own way waits for the device."""
        if self.traits.name == "cupy":
            import cupy  # it is loaded: the array is its own

            return cupy.where(array == array, cupy.sign(array), array)
        if self.traits.name == "torch" and not self.traits.mutable:  # theirs puts NaN in place
            return self.xp.where(array == array, array.sign(), array)
        return self.xp.sign(array)

    @property
    def tf32(self) -> bool:
        """Say whether the library may round the float32 factors of matrix products to TF32."""
        if self.traits.name == "cupy":
            return cupy_allows_tf32()
        if self.traits.name == "torch":
            return str(self.device).startswith("cuda") and _torch_allows_tf32()
        # on a GPU the default of JAX is TF32
        return self.traits.name == "jax" and _jax_allows_tf32()


def _addresses(array: Array) -> tuple[int, int]:
    """Give the first address of an array's bytes, and the one behind them."""
    low = high = int(array.data.ptr)
    if not array.size:
        return low, low
    for n, step in zip(array.shape, array.strides, strict=True):
        low, high = low + min((n - 1) * step, 0), high + max((n - 1) * step, 0)
    return low, high + int(array.itemsize)


_CONSTANTS: dict[Any, Array] = {}
_KEPT = Kept()  # on devices


def cupy_allows_tf32() -> bool:
    """Ask CuPy whether it rounds the float32 factors of matrix products; where it is not loaded, what it would read."""
    cupy: Any = sys.modules.get("cupy")
    if cupy is None:
        return int(os.environ.get("CUPY_TF32", "0")) > 0
    # set by the environment variable CUPY_TF32 when CuPy is first used, or by `set_compute_type` at any time
    routines = cupy._core._routines_linalg
    return bool(routines.get_compute_type(np.dtype(np.float32)) == routines.COMPUTE_TYPE_TF32)


def _torch_allows_tf32() -> bool:
    import torch  # it is loaded: the array is its own

    return bool(torch.backends.cuda.matmul.allow_tf32)


def _jax_allows_tf32() -> bool:
    import jax  # it is loaded: the array is its own

    wanted: Any = jax.config.jax_default_matmul_precision
    return bool(jax.default_backend() == "gpu") and wanted not in ("highest", "float32")


def _jax_is_on_cpu() -> bool:
    import jax  # it is loaded: the array is its own

    return bool(jax.default_backend() == "cpu")


@lru_cache(maxsize=1)
def numpy_space() -> Space:
    """Give NumPy's."""
    return Space(compat.array_namespace(np.empty(0)), NUMPY)


@lru_cache(maxsize=256)
def _known(xp: Namespace, traits: Traits, device: Device) -> Space:
    return Space(xp, traits, device)


def space_of(array: Array) -> Space:
    """Find where an array lives."""
    if isinstance(array, np.ndarray):
        return numpy_space()
    device = _device(array)
    found = compat.array_namespace(array), _traits(array, device), device
    try:
        return _known(*found)
    except TypeError:  # a device that has no hash
        return Space(*found)


def _device(array: Array) -> Device | None:
    """Give the device; a traced array has none."""
    try:
        return compat.device(array)
    except (AttributeError, TypeError):
        return None


def is_chunked(*arrays: Array) -> bool:
    """Say whether any of these is cut into chunks, and computed when somebody asks for it."""
    return "dask.array" in sys.modules and any(compat.is_dask_array(array) for array in arrays)


def described_space(function: str, device: Any, dtype: DType | str) -> tuple[Space, DType]:
    """Stand in for arrays that are only described: NumPy's traits, or CuPy's for a CUDA device."""
    kind = str(getattr(device, "type", device) or "cpu").lower().partition(":")[0]
    if kind not in ("cpu", "cuda", "gpu"):
        raise ValueError(f"{function}: device is None, 'cpu' or 'cuda'; got device={device!r}")
    here = numpy_space()
    return here if kind == "cpu" else _known(here.xp, CUPY, None), read_dtype(function, here.xp, dtype)


def common_space(function: str, arrays: Mapping[str, Array], *, one_dtype: bool = True) -> Space:
    """Find the one library and device of a call's arrays, and check that their dtypes are one, and served.

    TypeError where they are not.
    """
    (first, x), *rest = arrays.items()
    plain = all(type(array) is np.ndarray for array in arrays.values())
    space = numpy_space() if plain else _common(function, arrays)
    if one_dtype:
        for name, array in rest:
            if array.dtype != x.dtype and native(array.dtype) != native(x.dtype):
                raise TypeError(
                    f"{function}: the arrays of one call have one dtype; got {first}.dtype={dtype_name(x.dtype)}, "
                    f"{name}.dtype={dtype_name(array.dtype)}; convert one with astype"
                )
    for name, array in ((first, x),) if one_dtype else arrays.items():
        check_numeric(function, space.xp, name, array.dtype)
    return space


def mixed_space(function: str, **arrays: Array) -> Space:
    """Find the one library and device of a call's arrays, whose dtypes may differ."""
    return common_space(function, arrays, one_dtype=False)


def _common(function: str, arrays: Mapping[str, Array]) -> Space:
    space, first = None, ""
    for name, array in arrays.items():
        if not compat.is_array_api_obj(array):
            raise TypeError(f"{function}: {name} is an array; got {type(array).__name__}")
        if isinstance(array, (np.generic, np.matrix, np.ma.MaskedArray)):
            raise TypeError(f"{function}: {name} is a plain numpy.ndarray; got {type(array).__name__}")
        other = space_of(array)
        if space is None:
            space, first = other, name
            _check_current(function, name, other)
        elif other.xp is not space.xp:
            raise TypeError(
                f"{function}: the arrays of one call belong to one library; got {first}: {_name(space.xp)}, "
                f"{name}: {_name(other.xp)}; convert one of them first"
            )
        elif other.device != space.device and other.device is not None and space.device is not None:
            raise TypeError(
                f"{function}: the arrays of one call are on one device; got {first}.device={space.device}, "
                f"{name}.device={other.device}; move one of them first"
            )
    assert space is not None
    return space


def _check_current(function: str, name: str, space: Space) -> None:
    """Refuse arrays of CuPy's on a device that is not the current one: what is made for them would lie on that one."""
    if space.traits.name == "cupy":
        import cupy  # it is loaded: the array is its own

        if space.device != (current := cupy.cuda.Device()):
            raise TypeError(
                f"{function}: {name} is on the current device, {current!r}; got {name}.device={space.device!r}; "
                f"call it within `with {name}.device:`"
            )


def _name(xp: Namespace) -> str:
    return str(xp.__name__).removeprefix("array_api_compat.")

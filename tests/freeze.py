"""Digests of every operation's results, before and after a change that must not change a bit.

    python tests/freeze.py write FILE     # on the tree that is right; another tree: PYTHONPATH=TREE before it
    python tests/freeze.py compare FILE   # on the tree that was changed

A digest is kept for each operation × algorithm × layout × dtype × room × library, under one, two, three and sixteen
threads, of three calls in a row, which must agree; the peak of what a call allocates beside its results is kept for
one thread. Only public names are used, so one file of the script serves trees whose insides differ. Without Numba,
compiled loops are digests of how they refuse. The whole takes about two hours of one core; `--quick` has the same calls
on a third of the layers, each dtype under one algorithm beside "auto", and three pairs of room and threads.
"""

import argparse
import hashlib
import json
import sys
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

import xpconv as xc
from xpconv import bounds

MIB = 1 << 20
ROOMS = {1: (1, 2, 3, 16), 8: (1, 2, 3, 16), 64: (1, 2, 3, 16)}  # threads by mebibytes
FEW = {1: (16,), 8: (3,), 64: (1, 2)}
LAYOUTS = ("channels_last", "channels_first")
ALGORITHMS = ("auto", "direct", "gemm", "toeplitz", "winograd", "fft", "compiled", "compiled_winograd")
PASSES = 3  # of each call: the first is made in full, one is noted, and the last may be made from notes
DTYPES = {
    "numpy": ["float32", "float64", "float16", "complex64", "complex128", "int8", "uint8", "int32", "int64"],
    "torch": ["float32", "float64", "float16", "bfloat16", "complex64", "int8", "int64"],
}
GROWTH = 1.05  # of a peak: what lists and tuples take differs from run to run
Call = Callable[[], Any]


@dataclass(frozen=True)
class Layer:
    """One case: images of `batch` × `size` × `channels`, a kernel that gives `filters`."""

    name: str
    batch: int
    size: tuple[int, ...]
    channels: int
    filters: int
    kernel: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)

    def images(self, layout: str, channels: int | None = None) -> tuple[int, ...]:
        """Shape of x, or of an array of other channels on the same pixels."""
        channels = channels or self.channels
        return (self.batch, *self.size, channels) if layout == LAYOUTS[0] else (self.batch, channels, *self.size)

    def weight(self, layout: str) -> tuple[int, ...]:
        """Shape of w."""
        per_group = self.channels // self.options.get("groups", 1)
        return (
            (*self.kernel, per_group, self.filters) if layout == LAYOUTS[0] else (self.filters, per_group, *self.kernel)
        )


LAYERS = (
    Layer("3x3", 2, (12, 13), 5, 7, (3, 3), {"padding": 1}),
    Layer("1x1 stride 2", 3, (9, 8), 8, 6, (1, 1), {"stride": 2}),
    Layer("tiles", 3, (56, 60), 16, 24, (3, 3), {"padding": "same"}),
    Layer("depthwise", 2, (20, 21), 32, 32, (3, 3), {"padding": 1, "groups": 32}),
    Layer("long", 2, (301,), 4, 6, (5,), {"padding": "causal", "dilation": 2}),
    Layer("volume", 1, (7, 8, 9), 3, 5, (3, 3, 3), {"padding": 1, "stride": (1, 2, 1)}),
    Layer("first", 2, (64, 64), 3, 16, (7, 7), {"stride": 2, "padding": 3}),
    Layer("grouped", 2, (15, 14), 8, 12, (3, 3), {"groups": 4, "stride": 2, "padding": ((1, 0), (2, 1))}),
    Layer("reflected", 2, (16, 17), 4, 5, (5, 5), {"padding": 2, "padding_mode": "reflect"}),
    Layer("wrapped", 2, (11, 12), 4, 4, (3, 3), {"padding": 1, "padding_mode": "circular", "dilation": 2}),
    Layer("wide kernel", 1, (48, 50), 4, 4, (15, 15), {"padding": "same_lower"}),
    Layer("deep", 2, (14, 14), 96, 64, (3, 3), {"padding": 1}),
    Layer("pointwise", 4, (28, 28), 48, 64, (1, 1)),
    Layer("dilated", 2, (18, 19), 3, 4, (3, 2), {"dilation": (2, 3), "stride": (2, 1), "padding": 2}),
    Layer("no image", 0, (8, 8), 3, 4, (3, 3), {"padding": 1}),
)


def drawn(shape: tuple[int, ...], dtype: str, library: ModuleType) -> Any:
    """Numbers of a dtype that depend on the shape alone, zeros and equal ones among them."""
    rng = np.random.default_rng(sum(shape) + len(shape))
    whole = "int" in dtype
    values = rng.integers(0 if dtype == "uint8" else -9, 9, shape) if whole else rng.standard_normal(shape).round(2)
    if dtype.startswith("complex"):
        values = values + 1j * rng.standard_normal(shape).round(2)
    if library is np:
        return values.astype(dtype)
    return library.from_numpy(values).to(getattr(library, dtype))


def convolutions(
    layer: Layer, layout: str, dtype: str, algorithm: str, library: ModuleType
) -> Iterator[tuple[str, Call]]:
    """Calls on one layer under one algorithm."""
    x, w = (drawn(shape, dtype, library) for shape in (layer.images(layout), layer.weight(layout)))
    b = drawn((layer.filters,), dtype, library)
    kw = {**layer.options, "layout": layout, "algorithm": algorithm}
    dz = xc.conv(x, w, **{**kw, "algorithm": "auto"})
    yield "conv", lambda: xc.conv(x, w, b, **kw)
    yield "prepare_conv", lambda: prepared(x, w, b, kw)
    yield "conv_vjp", lambda: xc.conv_vjp(dz, x, w, **kw)
    yield "conv_input_grad", lambda: xc.conv_input_grad(dz, w, x.shape, **kw)
    yield "conv_weight_grad", lambda: xc.conv_weight_grad(dz, x, w.shape, **kw)
    yield "error_bound", lambda: xc.error_bound(x, w, b, **kw)
    yield "conv_input_grad_error_bound", lambda: bounds.conv_input_grad_error_bound(dz, w, x.shape, **kw)
    yield "conv_weight_grad_error_bound", lambda: bounds.conv_weight_grad_error_bound(dz, x, w.shape, **kw)


def prepared(x: Any, w: Any, b: Any, kw: dict[str, Any]) -> Any:
    """Results of a prepared convolution, which must be the same each time."""
    conv = xc.prepare_conv(w, b, input_shape=x.shape, **kw)
    return tuple(conv(x) for _ in range(PASSES))


def others(layer: Layer, layout: str, dtype: str, library: ModuleType) -> Iterator[tuple[str, Call]]:
    """Calls on one layer that know no algorithm: the layer's kernel is the window."""
    x = drawn(layer.images(layout), dtype, library)
    z = drawn(layer.images(layout, layer.filters), dtype, library)
    w = drawn(layer.weight(layout), dtype, library)
    kw = {key: value for key, value in layer.options.items() if key not in ("padding_mode", "padding")}
    kw |= {"layout": layout, "padding": 1 if layer.kernel != (1,) * len(layer.kernel) else 0}
    dz = xc.conv_transpose(z, w, **kw)
    yield "conv_transpose", lambda: xc.conv_transpose(z, w, **kw)
    yield "conv_transpose_vjp", lambda: xc.conv_transpose_vjp(dz, z, w, **kw)
    kw.pop("groups", None)
    cols = xc.unfold(x, layer.kernel, **kw)
    yield "unfold", lambda: xc.unfold(x, layer.kernel, **kw)
    yield "fold", lambda: xc.fold(cols, x.shape, layer.kernel, **kw)
    for mode in ("zeros", "reflect", "replicate", "circular"):
        y = xc.pad(x, 2, mode=mode, layout=layout)
        yield f"pad {mode}", lambda mode=mode: xc.pad(x, 2, mode=mode, layout=layout)
        yield f"pad_vjp {mode}", lambda mode=mode, y=y: xc.pad_vjp(y, x.shape, 2, mode=mode, layout=layout)
    for ceil in (False, True):
        yield from pools(x, layer.kernel, {**kw, "ceil_mode": ceil})
    parts = tuple(max(n // 3, 1) for n in layer.size)
    y = xc.adaptive_avg_pool(x, parts, layout=layout) if "int" not in dtype else None
    if y is not None:
        yield "adaptive_avg_pool", lambda: xc.adaptive_avg_pool(x, parts, layout=layout)
        yield "adaptive_avg_pool_vjp", lambda: xc.adaptive_avg_pool_vjp(y, x, parts, layout=layout)
    if not dtype.startswith("complex"):
        most = xc.adaptive_max_pool(x, parts, layout=layout)
        yield "adaptive_max_pool", lambda: xc.adaptive_max_pool(x, parts, layout=layout, return_indices=True)
        yield "adaptive_max_pool_vjp", lambda: xc.adaptive_max_pool_vjp(most, x, parts, layout=layout)
        places = xc.adaptive_max_pool(x, parts, layout=layout, return_indices=True)[1]
        yield (
            "adaptive_max_pool_vjp indices",
            lambda: xc.adaptive_max_pool_vjp(most, x, parts, layout=layout, indices=places),
        )


def pools(x: Any, window: tuple[int, ...], kw: dict[str, Any]) -> Iterator[tuple[str, Call]]:
    """Calls of strided pooling for the dtypes that have them."""
    kind = str(x.dtype)
    ceil = " ceil" if kw["ceil_mode"] else ""
    if "complex" not in kind:
        y = xc.max_pool(x, window, **kw)
        yield f"max_pool{ceil}", lambda: xc.max_pool(x, window, return_indices=True, **kw)
        for ties in ("first", "all", "split") if "int" not in kind else ("first", "all"):
            yield f"max_pool_vjp {ties}{ceil}", lambda ties=ties: xc.max_pool_vjp(y, x, window, ties=ties, **kw)
        _, places = xc.max_pool(x, window, return_indices=True, **kw)
        yield f"max_pool_vjp indices{ceil}", lambda: xc.max_pool_vjp(y, x, window, indices=places, **kw)
        if not {"stride", "dilation"} & kw.keys() and not ceil:  # no pixel is in two windows
            size = x.shape[1:-1] if kw["layout"] == LAYOUTS[0] else x.shape[2:]
            yield "max_unpool", lambda: xc.max_unpool(y, places, size, layout=kw["layout"])
    if "int" in kind:
        return
    for include in (True, False):
        mean = {**kw, "count_include_pad": include}
        y = xc.avg_pool(x, window, **mean)
        yield f"avg_pool {include}{ceil}", lambda mean=mean: xc.avg_pool(x, window, **mean)
        yield f"avg_pool_vjp {include}{ceil}", lambda y=y, m=mean: xc.avg_pool_vjp(y, x.shape, window, **m)
    if "complex" in kind:
        return
    for p in (1, 2, 2.5):
        y = xc.lp_pool(x, p, window, **kw)
        yield f"lp_pool {p}{ceil}", lambda p=p: xc.lp_pool(x, p, window, **kw)
        yield f"lp_pool_vjp {p}{ceil}", lambda p=p, y=y: xc.lp_pool_vjp(y, x, p, window, **kw)


def digest(results: Any) -> str:
    """Dtypes, shapes and bits of one or several arrays."""
    found = hashlib.sha256()
    for result in results if isinstance(results, tuple) else (results,):
        bits = result
        if not isinstance(bits, np.ndarray | np.generic):
            whole = result.detach().resolve_conj().contiguous()
            bits = (whole.view(sys.modules["torch"].uint8) if whole.ndim else whole).numpy()
        found.update(f"{result.dtype}{tuple(result.shape)}".encode())
        found.update(np.ascontiguousarray(bits).tobytes())
    return found.hexdigest()[:16]


def outcome(call: Call) -> str:
    """The digest of a call, or what it refuses; all digests of calls in a row where they differ."""
    try:
        return " ".join(sorted({digest(call()) for _ in range(PASSES)}))
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def emptied() -> None:
    """Let go of the work arrays that the package keeps between calls; they would not be counted."""
    for name in ("xpconv._work.memory", "xpconv._buffers"):
        keeper = getattr(sys.modules.get(name), "pool", None)
        if keeper is not None:
            keeper.clear()


def peak(call: Call) -> int:
    """Bytes that a call allocates beside its results, at the most; 0 where it refuses."""
    emptied()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        results = call()
        most = tracemalloc.get_traced_memory()[1] - before
    except (TypeError, ValueError):
        return 0
    finally:
        tracemalloc.stop()
    return most - sum(r.nbytes for r in (results if isinstance(results, tuple) else (results,)))


def calls(name: str, library: ModuleType, quick: bool) -> Iterator[tuple[str, Call]]:
    """Every call on a library, with its key."""
    for layer in LAYERS[::3] if quick else LAYERS:
        for layout in LAYOUTS:
            for turn, dtype in enumerate(DTYPES[name]):
                named = ALGORITHMS[1:] if not quick or dtype == "float32" else (ALGORITHMS[1 + turn % 7],)
                for algorithm in ("auto", *named):
                    for operation, call in convolutions(layer, layout, dtype, algorithm, library):
                        yield f"{name}|{layer.name}|{layout}|{dtype}|{algorithm}|{operation}", call
                for operation, call in others(layer, layout, dtype, library):
                    yield f"{name}|{layer.name}|{layout}|{dtype}||{operation}", call


def frozen(libraries: dict[str, ModuleType], quick: bool) -> tuple[dict[str, Any], dict[str, int]]:
    """Digests by key, room and thread, one for all threads where they agree; and peaks by key and room."""
    digests: dict[str, Any] = {}
    peaks: dict[str, int] = {}
    for name, library in libraries.items():
        for key, call in calls(name, library, quick):
            for room, counts in (FEW if quick else ROOMS).items():
                found = {}
                for threads in counts if library is np else counts[-1:]:
                    with xc.set_options(threads=threads, max_workspace=room * MIB):
                        found[threads] = outcome(call)
                agreed = set(found.values())
                digests[f"{key}|{room}"] = agreed.pop() if len(agreed) == 1 else {str(k): v for k, v in found.items()}
                if library is np and ("|float32|" in key or "|int8|" in key):
                    with xc.set_options(threads=1, max_workspace=room * MIB):
                        peaks[f"{key}|{room}"] = peak(call)
    return digests, peaks


def compared(was: dict[str, Any], now: dict[str, Any]) -> int:
    """Print what differs and count it: digests, and peaks that grew beyond their room; other growth is told."""
    differing = [key for key, value in was["digests"].items() if now["digests"].get(key) != value]
    for key in differing[:40]:
        print(f"{key}: {was['digests'][key]} -> {now['digests'].get(key)}")
    beyond = [key for key, value in now["peaks"].items() if value > int(key.rsplit("|", 1)[1]) * MIB]
    beyond = [key for key in beyond if now["peaks"][key] > was["peaks"][key]]
    for key in beyond[:40]:
        print(f"{key}: {was['peaks'][key]:,} -> {now['peaks'][key]:,} bytes, beyond the room")
    grown = [key for key, value in now["peaks"].items() if value > GROWTH * was["peaks"].get(key, value) + 65536]
    for key in sorted(grown, key=lambda key: was["peaks"][key] - now["peaks"][key])[:10]:
        print(f"{key}: {was['peaks'][key]:,} -> {now['peaks'][key]:,} bytes")
    print(
        f"{len(differing)} of {len(was['digests'])} digests differ; of {len(was['peaks'])} peaks {len(grown)} grew by"
        f" more than {GROWTH - 1:.0%} and 64 KiB, {len(beyond)} of them beyond their room"
    )
    return len(differing) + len(beyond)


def main(arguments: list[str] | None = None) -> int:
    """Write or compare a file of digests; the status is 1 where a bit differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("action", choices=("write", "compare"))
    parser.add_argument("file")
    parser.add_argument("--quick", action="store_true", help="a tenth of the calls")
    parser.add_argument("--libraries", default="numpy,torch", metavar="NAME,...")
    parsed = parser.parse_args(arguments)
    libraries = {name: __import__(name) for name in parsed.libraries.split(",")}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        digests, peaks = frozen(libraries, parsed.quick)
    now = {"digests": digests, "peaks": peaks}
    if parsed.action == "write":
        with open(parsed.file, "w", encoding="utf-8") as file:
            json.dump(now, file, indent=0)
        print(f"{parsed.file}: {len(digests)} digests and {len(peaks)} peaks")
        return 0
    with open(parsed.file, encoding="utf-8") as file:
        was = json.load(file)
    chosen = {kind: {key: value for key, value in was[kind].items() if key in now[kind]} for kind in was}
    return min(compared(chosen, now), 1)


if __name__ == "__main__":
    sys.exit(main())

"""Faults to plant: stand-ins for the library's functions, each wrong in one way."""

import numpy as np

import xpconv

# every function as it is before a fault is planted
GOOD = {name: getattr(xpconv, name) for name in xpconv.__all__ if callable(getattr(xpconv, name))}


def spatial(w, layout):
    return tuple(range(w.ndim - 2)) if layout == "channels_last" else tuple(range(2, w.ndim))


def flipped(x, w, b=None, *, layout="channels_last", **options):
    return GOOD["conv"](x, np.flip(w, spatial(w, layout)), b, layout=layout, **options)


def shifted_padding(x, w, b=None, *, padding=0, **options):
    if isinstance(padding, int) and padding:
        rank = w.ndim - 2
        padding = ((padding - 1, padding + 1),) * rank
    return GOOD["conv"](x, w, b, padding=padding, **options)


def dropped_padding(x, w, b=None, *, padding=0, **options):
    return GOOD["conv"](x, w, b, **options)


def ignored_stride(x, w, b=None, *, stride=1, **options):
    return GOOD["conv"](x, w, b, **options)


def no_bias(x, w, b=None, **options):
    return GOOD["conv"](x, w, **options)


def zeros(x, w, b=None, **options):
    return 0 * GOOD["conv"](x, w, b, **options)


def coarse(a):
    """Round to ten binary digits after the first, as TF32 does."""
    fraction, exponent = np.frexp(a)
    return np.ldexp(np.round(fraction * 2048) / 2048, exponent).astype(a.dtype)


def tf32(x, w, b=None, **options):
    return GOOD["conv"](coarse(x), coarse(w), b, **options)


def halves(x, w, b=None, *, layout="channels_last", groups=1, **options):
    """Add up channel by channel in float16."""
    if x.dtype != np.float16 or layout != "channels_last" or groups > 1 or x.shape[-1] == 1:
        return GOOD["conv"](x, w, b, layout=layout, groups=groups, **options)
    parts = [GOOD["conv"](x[..., c : c + 1], w[..., c : c + 1, :], **options) for c in range(x.shape[-1])]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total if b is None else total + b


def lost_tile(x, w, b=None, **options):
    z = GOOD["conv"](x, w, b, **options)
    z[-1:] = 0
    return z


def scaled_weight_grad(dz, x, w, **options):
    dx, dw, db = GOOD["conv_vjp"](dz, x, w, **options)
    return dx, dw * dw.dtype.type(1.001), db


def swapped(dz, x, w, **options):
    dx, dw, db = GOOD["conv_vjp"](dz, x, w, **options)
    return dx, db, dw


def mean_bias_grad(dz, x, w, **options):
    dx, dw, db = GOOD["conv_vjp"](dz, x, w, **options)
    return dx, dw, db / dz.dtype.type(dz.shape[0])


def input_grad_of_the_batch_s_first(dz, w, shape, **options):
    dx = GOOD["conv_input_grad"](dz, w, shape, **options)
    dx[1:] = dx[:1]
    return dx


def assigned(dy, shape, window, *, layout="channels_last", **options):
    """Overwrite where windows overlap: the last window of a pixel wins."""
    dx = GOOD["avg_pool_vjp"](dy, shape, window, layout=layout, **options)
    ones = GOOD["avg_pool_vjp"](np.ones_like(dy), shape, window, layout=layout, **options)
    return np.where(ones > ones.max() * 0.9, dx / 2, dx).astype(dx.dtype)


def full_divisor(x, window, *, count_include_pad=True, **options):
    return GOOD["avg_pool"](x, window, **options)


def last_of_ties(dy, x, window, *, ties="first", **options):
    if ties != "first":
        return GOOD["max_pool_vjp"](dy, x, window, ties=ties, **options)
    turn = tuple(range(1, x.ndim))
    try:
        turned = GOOD["max_pool_vjp"](np.flip(dy, turn), np.flip(x, turn), window, **options)
    except ValueError:
        return GOOD["max_pool_vjp"](dy, x, window, **options)
    return np.ascontiguousarray(np.flip(turned, turn))


def all_ties(dy, x, window, *, ties="first", **options):
    return GOOD["max_pool_vjp"](dy, x, window, ties="all", **options)


def without_nan(x, window, **options):
    return GOOD["max_pool"](np.nan_to_num(x, nan=-np.inf, posinf=np.inf, neginf=-np.inf), window, **options)


def padded_indices(x, window, *, return_indices=False, **options):
    found = GOOD["max_pool"](x, window, return_indices=return_indices, **options)
    return (found[0], found[1] + 1) if return_indices else found


def zero_padding(x, window, *, padding=0, **options):
    return GOOD["max_pool"](np.where(x < 0, 0, x).astype(x.dtype), window, padding=padding, **options)


def mutating(x, padding, **options):
    y = GOOD["pad"](x, padding, **options)
    x[..., :1] = 7
    return y


def view(x, padding, **options):
    y = GOOD["pad"](x, padding, **options)
    return x if y.shape == x.shape else y


def widened(x, padding, **options):
    return GOOD["pad"](x, padding, **options).astype(np.float64)


def listed(x, padding, **options):
    return GOOD["pad"](x, padding, **options).tolist()


def broken(x, padding, **options):
    raise RuntimeError("no kernel image\nis available")


def short_cache(A_prev, hparameters, mode="max"):
    result, _ = GOOD["pool_forward"](A_prev, hparameters, mode)
    return result, (A_prev.copy(), hparameters)


def no_cache(A_prev, hparameters, mode="max"):
    return GOOD["pool_forward"](A_prev, hparameters, mode)[0]


def changed_hparameters(A_prev, W, b, hparameters):
    result = GOOD["conv_forward"](A_prev, W, b, hparameters)
    hparameters["out"] = 1
    return result


def first_of_ties(dA, cache, mode="max"):
    if mode == "average":
        return GOOD["pool_backward"](dA, cache, mode)
    x, hparameters = cache
    return GOOD["max_pool_vjp"](dA, x, hparameters["f"], stride=hparameters["stride"])


def window_of_the_stride(A_prev, hparameters, mode="max"):
    return GOOD["pool_forward"](A_prev, hparameters | {"f": hparameters["stride"]}, mode)[0], (A_prev, hparameters)


def without_one(name, keyword, wrong):
    return lambda *arrays, **options: GOOD[name](
        *arrays, **{**options, **({keyword: wrong} if keyword in options else {})}
    )


def scaled(name, number=0, by=1.001):
    def function(*arrays, **options):
        found = GOOD[name](*arrays, **options)
        if not isinstance(found, tuple):
            return (found * by).astype(found.dtype)
        return tuple((part * by).astype(part.dtype) if i == number else part for i, part in enumerate(found))

    return function


def last_wins(cols, shape, window, **options):
    """Overwrite where windows overlap."""
    counts = GOOD["fold"](np.ones_like(cols), shape, window, **options)
    return (GOOD["fold"](cols, shape, window, **options) / np.maximum(counts, 1)).astype(cols.dtype)


def even_cuts(x, output_shape, **options):
    """Take windows of equal size, the rest dropped."""
    if options.get("layout") == "channels_first":
        return GOOD["adaptive_avg_pool"](x, output_shape, **options)
    size = x.shape[1:-1]
    parts = (output_shape,) * len(size) if isinstance(output_shape, int) else output_shape
    if any(n < m for n, m in zip(size, parts, strict=True)):
        return GOOD["adaptive_avg_pool"](x, output_shape, **options)
    kept = tuple(slice(0, n // m * m) for n, m in zip(size, parts, strict=True))
    return GOOD["adaptive_avg_pool"](np.ascontiguousarray(x[(slice(None), *kept)]), output_shape, **options)


def saturating(x, w, b=None, **options):
    """Clip where NumPy's integers wrap."""
    if x.dtype.kind not in "iu":
        return GOOD["conv"](x, w, b, **options)
    dtype = np.dtype(options.pop("dtype", x.dtype))
    wide = GOOD["conv"](x.astype(float), w.astype(float), None if b is None else b.astype(float), **options)
    return np.clip(wide, np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)


def unconjugated(dz, x, w, **options):
    return GOOD["conv_vjp"](dz, np.conj(x), np.conj(w), **options)


VALUES = "differ|off by more|not adjoint|wrong shape"
FAULTS = [
    ("conv", flipped, "differ"),
    ("conv", shifted_padding, "differ"),
    ("conv", dropped_padding, "z has the wrong shape"),
    ("conv", ignored_stride, "z has the wrong shape"),
    ("conv", no_bias, "differ"),
    ("conv", zeros, "differ"),
    ("conv", tf32, "off by more than their bound"),
    ("conv", lost_tile, "differ"),
    ("conv_vjp", scaled_weight_grad, "dw: .* differ"),
    ("conv_vjp", swapped, "dw has the wrong shape"),
    ("conv_vjp", mean_bias_grad, "db: .* differ"),
    ("conv_input_grad", input_grad_of_the_batch_s_first, "differ"),
    ("conv_weight_grad", lambda dz, x, shape, **o: -GOOD["conv_weight_grad"](dz, x, shape, **o), "differ"),
    ("avg_pool", full_divisor, "differ"),
    ("avg_pool_vjp", assigned, "differ|off by more"),
    ("max_pool_vjp", last_of_ties, "differ"),
    ("max_pool_vjp", all_ties, "differ"),
    ("max_pool", without_nan, "differ"),
    ("max_pool", padded_indices, "indices: .* differ"),
    ("max_pool", zero_padding, "differ"),
    ("pad", mutating, "the argument x was changed"),
    ("zero_pad", lambda X, width: X, "wrong shape"),
    ("pad", widened, "wrong dtype"),
    ("pad", listed, "is no array"),
    ("pad", broken, "raised RuntimeError: no kernel image is available"),
    ("pool_forward", short_cache, "cache does not hold the arguments"),
    ("pool_forward", no_cache, "gives \\(result, cache\\)"),
    ("pool_forward", window_of_the_stride, "wrong shape|differ"),
    ("pool_backward", first_of_ties, "differ"),
    ("conv_forward", changed_hparameters, "an option was changed"),
    ("conv_single_step", lambda a, W, b: np.float32(0), "differ"),
    ("create_mask_from_window", lambda x: x >= x, "differ"),
    ("create_mask_from_window", lambda x: (x == x.max()).astype(np.int8), "wrong dtype"),
    ("distribute_value", lambda dz, shape: np.full(shape, dz.item(), dz.dtype), "differ"),
    ("conv_transpose", lambda x, w, b=None, **o: GOOD["conv_transpose"](x, w, None, **o), VALUES),
    ("conv_transpose", lambda x, w, b=None, **o: GOOD["conv_transpose"](x, np.flip(w, (-3,)), b, **o), VALUES),
    ("conv_transpose_vjp", scaled("conv_transpose_vjp", 1), VALUES),
    (
        "conv_transpose_vjp",
        lambda dz, x, w, **o: (*GOOD["conv_transpose_vjp"](dz, x, w, **o)[:2], w[..., 0, 0, 0]),
        VALUES,
    ),
    ("lp_pool", lambda x, p, window, **o: GOOD["lp_pool"](x, p + 1e-4, window, **o), VALUES),
    ("lp_pool", lambda x, p, window, **o: GOOD["lp_pool"](np.abs(x) + np.float32(0.001), p, window, **o), VALUES),
    ("lp_pool_vjp", lambda dy, x, p, window, **o: np.abs(GOOD["lp_pool_vjp"](dy, x, p, window, **o)), VALUES),
    ("lp_pool_vjp", scaled("lp_pool_vjp", by=1 + 1e-5), VALUES),
    ("adaptive_avg_pool", even_cuts, VALUES),
    ("adaptive_avg_pool_vjp", scaled("adaptive_avg_pool_vjp"), VALUES),
    ("adaptive_max_pool_vjp", lambda dy, x, out, **o: GOOD["adaptive_max_pool_vjp"](dy, -x, out, **o), VALUES),
    ("max_unpool", lambda y, i, out, **o: GOOD["max_unpool"](y, np.maximum(i, 0), out, **o), VALUES),
    ("unfold", lambda x, window, **o: GOOD["unfold"](np.flip(x, 0), window, **o), VALUES),
    ("fold", last_wins, VALUES),
    ("pad", without_one("pad", "mode", "replicate"), VALUES),
    ("pad_vjp", without_one("pad_vjp", "mode", "zeros"), VALUES),
    ("conv", without_one("conv", "padding_mode", "replicate"), VALUES),
    ("conv_vjp", without_one("conv_vjp", "padding_mode", "circular"), VALUES),
]

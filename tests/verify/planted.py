"""Faults to plant: stand-ins for the library's functions, each wrong in one way."""

import numpy as np

import xpconv


def last(name):
    """Give the name's function as it is before a fault is planted."""
    return getattr(xpconv, name)


conv, conv_vjp, conv_input_grad, conv_weight_grad = map(
    last, ("conv", "conv_vjp", "conv_input_grad", "conv_weight_grad")
)
max_pool, max_pool_vjp, avg_pool, avg_pool_vjp, pad = map(
    last, ("max_pool", "max_pool_vjp", "avg_pool", "avg_pool_vjp", "pad")
)
pool_forward, conv_forward, pool_backward = map(last, ("pool_forward", "conv_forward", "pool_backward"))


def spatial(w, layout):
    return tuple(range(w.ndim - 2)) if layout == "channels_last" else tuple(range(2, w.ndim))


def flipped(x, w, b=None, *, layout="channels_last", **options):
    return conv(x, np.flip(w, spatial(w, layout)), b, layout=layout, **options)


def shifted_padding(x, w, b=None, *, padding=0, **options):
    if isinstance(padding, int) and padding:
        rank = w.ndim - 2
        padding = ((padding - 1, padding + 1),) * rank
    return conv(x, w, b, padding=padding, **options)


def dropped_padding(x, w, b=None, *, padding=0, **options):
    return conv(x, w, b, **options)


def ignored_stride(x, w, b=None, *, stride=1, **options):
    return conv(x, w, b, **options)


def no_bias(x, w, b=None, **options):
    return conv(x, w, **options)


def zeros(x, w, b=None, **options):
    return 0 * conv(x, w, b, **options)


def coarse(a):
    """Round to ten binary digits after the first, as TF32 does."""
    fraction, exponent = np.frexp(a)
    return np.ldexp(np.round(fraction * 2048) / 2048, exponent).astype(a.dtype)


def tf32(x, w, b=None, **options):
    return conv(coarse(x), coarse(w), b, **options)


def halves(x, w, b=None, *, layout="channels_last", groups=1, **options):
    """Add up channel by channel in float16."""
    if x.dtype != np.float16 or layout != "channels_last" or groups > 1 or x.shape[-1] == 1:
        return conv(x, w, b, layout=layout, groups=groups, **options)
    parts = [conv(x[..., c : c + 1], w[..., c : c + 1, :], **options) for c in range(x.shape[-1])]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total if b is None else total + b


def lost_tile(x, w, b=None, **options):
    z = conv(x, w, b, **options)
    z[-1:] = 0
    return z


def scaled_weight_grad(dz, x, w, **options):
    dx, dw, db = conv_vjp(dz, x, w, **options)
    return dx, dw * dw.dtype.type(1.001), db


def swapped(dz, x, w, **options):
    dx, dw, db = conv_vjp(dz, x, w, **options)
    return dx, db, dw


def mean_bias_grad(dz, x, w, **options):
    dx, dw, db = conv_vjp(dz, x, w, **options)
    return dx, dw, db / dz.dtype.type(dz.shape[0])


def input_grad_of_the_batch_s_first(dz, w, shape, **options):
    dx = conv_input_grad(dz, w, shape, **options)
    dx[1:] = dx[:1]
    return dx


def assigned(dy, shape, window, *, layout="channels_last", **options):
    """Overwrite where windows overlap: the last window of a pixel wins."""
    dx = avg_pool_vjp(dy, shape, window, layout=layout, **options)
    ones = avg_pool_vjp(np.ones_like(dy), shape, window, layout=layout, **options)
    return np.where(ones > ones.max() * 0.9, dx / 2, dx).astype(dx.dtype)


def full_divisor(x, window, *, count_include_pad=True, **options):
    return avg_pool(x, window, **options)


def last_of_ties(dy, x, window, *, ties="first", **options):
    if ties != "first":
        return max_pool_vjp(dy, x, window, ties=ties, **options)
    turn = tuple(range(1, x.ndim))
    try:
        turned = max_pool_vjp(np.flip(dy, turn), np.flip(x, turn), window, **options)
    except ValueError:
        return max_pool_vjp(dy, x, window, **options)
    return np.ascontiguousarray(np.flip(turned, turn))


def all_ties(dy, x, window, *, ties="first", **options):
    return max_pool_vjp(dy, x, window, ties="all", **options)


def without_nan(x, window, **options):
    return max_pool(np.nan_to_num(x, nan=-np.inf, posinf=np.inf, neginf=-np.inf), window, **options)


def padded_indices(x, window, *, return_indices=False, **options):
    found = max_pool(x, window, return_indices=return_indices, **options)
    return (found[0], found[1] + 1) if return_indices else found


def zero_padding(x, window, *, padding=0, **options):
    return max_pool(np.where(x < 0, 0, x).astype(x.dtype), window, padding=padding, **options)


def mutating(x, padding, **options):
    y = pad(x, padding, **options)
    x[..., :1] = 7
    return y


def view(x, padding, **options):
    y = pad(x, padding, **options)
    return x if y.shape == x.shape else y


def widened(x, padding, **options):
    return pad(x, padding, **options).astype(np.float64)


def listed(x, padding, **options):
    return pad(x, padding, **options).tolist()


def broken(x, padding, **options):
    raise RuntimeError("no kernel image\nis available")


def short_cache(A_prev, hparameters, mode="max"):
    result, _ = pool_forward(A_prev, hparameters, mode)
    return result, (A_prev.copy(), hparameters)


def no_cache(A_prev, hparameters, mode="max"):
    return pool_forward(A_prev, hparameters, mode)[0]


def changed_hparameters(A_prev, W, b, hparameters):
    result = conv_forward(A_prev, W, b, hparameters)
    hparameters["out"] = 1
    return result


def first_of_ties(dA, cache, mode="max"):
    if mode == "average":
        return pool_backward(dA, cache, mode)
    x, hparameters = cache
    return max_pool_vjp(dA, x, hparameters["f"], stride=hparameters["stride"])


def window_of_the_stride(A_prev, hparameters, mode="max"):
    return pool_forward(A_prev, hparameters | {"f": hparameters["stride"]}, mode)[0], (A_prev, hparameters)


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
    ("conv_weight_grad", lambda dz, x, shape, **o: -conv_weight_grad(dz, x, shape, **o), "differ"),
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
]

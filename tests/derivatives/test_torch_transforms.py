"""PyTorch's function transforms, traces and autocast: each gives what the plain call gives."""

import numpy as np
import pytest
import torch

import xpconv as xc

pytestmark = pytest.mark.needs("torch")

F64 = torch.float64
RNG = torch.Generator().manual_seed(0)


def draw(*shape):
    return torch.randn(*shape, dtype=F64, generator=RNG)


IMAGES, W, B = draw(3, 8, 8, 2), draw(3, 3, 2, 4), draw(4)
ONE_BY_ONE = {
    "conv": lambda x: xc.conv(x, W, B, padding="same", stride=2),
    "conv, reflected": lambda x: xc.conv(x, W, padding=2, padding_mode="reflect"),
    "conv, named": lambda x: xc.conv(x, W, padding=1, algorithm="winograd"),
    "conv_input_grad": lambda x: xc.conv_input_grad(x, W.permute(0, 1, 3, 2), (1, 17, 17, 4), stride=2),
    "conv_vjp": lambda x: xc.conv_vjp(x, xc.pad(x, 1), W[:, :, :, :2])[0],
    "conv_weight_grad": lambda x: xc.conv_weight_grad(x, xc.pad(x, 1), (3, 3, 2, 2)),
    "conv_transpose": lambda x: xc.conv_transpose(x, W.permute(0, 1, 3, 2), stride=2, output_padding=1),
    "max_pool": lambda x: xc.max_pool(x, 3, stride=2, padding=1),
    "max_pool, indices": lambda x: xc.max_pool(x, 2, return_indices=True)[1].to(F64),
    "max_pool_vjp": lambda x: xc.max_pool_vjp(x[:, :4, :4], x, 2),
    "max_unpool": lambda x: xc.max_unpool(*xc.max_pool(x, 2, return_indices=True), 8),
    "avg_pool": lambda x: xc.avg_pool(x, 3, padding=1, count_include_pad=False),
    "avg_pool_vjp": lambda x: xc.avg_pool_vjp(x, (1, 16, 16, 2), 2),
    "lp_pool": lambda x: xc.lp_pool(x, 3, 2),
    "lp_pool_vjp": lambda x: xc.lp_pool_vjp(x[:, :4, :4], x, 2, 2),
    "adaptive_avg_pool": lambda x: xc.adaptive_avg_pool(x, 3),
    "adaptive_avg_pool_vjp": lambda x: xc.adaptive_avg_pool_vjp(x[:, :3, :3], x, 3),
    "adaptive_max_pool": lambda x: xc.adaptive_max_pool(x, 3),
    "adaptive_max_pool_vjp": lambda x: xc.adaptive_max_pool_vjp(x[:, :3, :3], x, 3),
    "pad": lambda x: xc.pad(x, 2, mode="circular"),
    "pad_vjp": lambda x: xc.pad_vjp(x, (1, 4, 4, 2), 2, mode="replicate"),
    "unfold": lambda x: xc.unfold(x, 3, padding=1),
    "fold": lambda x: xc.fold(xc.unfold(x, 3), x.shape, 3),
}


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_vmap_is_the_batch(name):
    call = ONE_BY_ONE[name]
    found = torch.func.vmap(lambda image: call(image[None])[0] if "weight" not in name else call(image[None]))(IMAGES)
    one_by_one = [call(image[None]) for image in IMAGES]
    want = torch.stack(one_by_one) if "weight" in name else torch.cat(one_by_one)
    assert found.dtype == want.dtype
    torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-12)


def test_vmap_over_weights_and_inside_itself():
    many = draw(5, 3, 3, 2, 4)
    found = torch.func.vmap(lambda w: xc.conv(IMAGES, w))(many)
    torch.testing.assert_close(found, torch.stack([xc.conv(IMAGES, w) for w in many]), rtol=1e-12, atol=1e-12)
    found = torch.func.vmap(lambda w: torch.func.vmap(lambda x: xc.conv(x[None], w)[0])(IMAGES))(many)
    torch.testing.assert_close(found, torch.stack([xc.conv(IMAGES, w) for w in many]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("module", ["xpconv", "xpconv.torch"])
def test_per_sample_gradients(module):
    functions = xc if module == "xpconv" else xc.torch

    def loss(w, image):
        return functions.max_pool(functions.conv(image[None], w, padding=1), 2).pow(2).sum()

    found = torch.func.vmap(torch.func.grad(loss), (None, 0))(W, IMAGES)
    want = torch.stack([torch.func.grad(loss)(W, image) for image in IMAGES])
    torch.testing.assert_close(found, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["conv", "conv_transpose", "max_pool", "avg_pool"])
def test_jacobians_of_the_differentiable_functions(name):
    from xpconv import torch as xt

    calls = {
        "conv": lambda x: xt.conv(x, W, B, padding=1),
        "conv_transpose": lambda x: xt.conv_transpose(x, W.permute(0, 1, 3, 2)[..., :2], stride=2),
        "max_pool": lambda x: xt.max_pool(x, 2),
        "avg_pool": lambda x: xt.avg_pool(x, 2),
    }
    x = IMAGES[:1, :4, :4]
    found = torch.func.jacrev(calls[name])(x)
    want = torch.autograd.functional.jacobian(calls[name], x)
    torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-12)


class Layer(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.w = torch.nn.Parameter(torch.randn(3, 3, channels, channels, generator=RNG))

    def forward(self, x):
        return xc.max_pool(xc.conv(x, self.w, padding=1), 2)


@pytest.mark.parametrize(("pixels", "channels"), [(8, 4), (64, 32)])
def test_export(pixels, channels):
    """No branch on values is in it, where the plain call takes Winograd too."""
    layer, x = Layer(channels), torch.randn(1, pixels, pixels, channels, generator=RNG)
    found = torch.export.export(layer, (x,)).module()(x)
    torch.testing.assert_close(found, layer(x), rtol=1e-3, atol=1e-3)


def test_fake_tensors_have_shapes():
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        x, w = torch.empty(2, 64, 64, 32), torch.empty(3, 3, 32, 32)
        assert xc.conv(x, w, padding=1).shape == (2, 64, 64, 32)
        assert [part.shape for part in xc.conv_vjp(x, x, w, padding=1)] == [x.shape, w.shape, (32,)]
        assert xc.max_pool(x, 2).shape == (2, 32, 32, 32)


@pytest.mark.parametrize("algorithm", ["direct", "gemm", "toeplitz", "winograd", "fft"])
def test_autocast_is_switched_off_inside(algorithm):
    """Whole numbers that bfloat16 cannot hold come back exact, and errors stay within their bound."""
    x = torch.randn(1, 40, 40, 3, generator=RNG)
    w = torch.randn(4, 4, 3, 8, generator=RNG)
    want, bound = xc.conv(x, w, algorithm=algorithm), xc.error_bound(x, w, algorithm=algorithm)
    grads = xc.conv_vjp(want, x, w)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(xc.conv(x, w, algorithm=algorithm), want)
        assert torch.equal(xc.error_bound(x, w, algorithm=algorithm), bound)
        assert all(torch.equal(got, grad) for got, grad in zip(xc.conv_vjp(want, x, w), grads, strict=True))
        if algorithm in ("direct", "gemm"):
            whole = xc.conv(torch.full((1, 3, 3, 1), 257.0), torch.ones(1, 1, 1, 1), algorithm=algorithm)
            assert (whole == 257).all()
        assert torch.is_autocast_enabled("cpu")


def test_autocast_leaves_layers_alone():
    from xpconv import nn

    model = nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.Flatten(), nn.Dense(3))
    params = model.init(np.random.default_rng(0), (6, 6, 2), nn.load_library("torch"))
    x = torch.randn(2, 6, 6, 2, generator=RNG)
    want = model.predict(params, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model.predict(params, x), want)

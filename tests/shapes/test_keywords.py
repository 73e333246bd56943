"""Unknown keywords and words: a TypeError or ValueError that names what was meant; a right call stays a plain one."""

import inspect
import itertools
import pickle
import re
import traceback

import numpy as np
import pytest

import xpconv as xc
from xpconv import bounds, nn, testing
from xpconv._shapes import keywords as told
from xpconv.nn.training import Dataset, Settings, fit

X, W = np.ones((1, 4, 4, 1)), np.ones((3, 3, 1, 1))
PUBLIC = {
    **{name: getattr(xc, name) for name in xc.__all__},
    **{f"bounds.{name}": getattr(bounds, name) for name in bounds.__all__},
    **{f"nn.{name}": getattr(nn, name) for name in nn.__all__ if name not in ("Layer", "Optimizer", "training")},
    **{
        f"testing.{one.__name__}": one for one in (testing.assert_exact, testing.assert_within_bound, testing.max_ratio)
    },
    **{f"nn.training.{one.__name__}": one for one in (Dataset, Settings, fit)},
}
# any number of layers; records that are given back, and those of the tools
PLAIN = {"nn.Sequential", "nn.Summary", "nn.LayerSummary", "nn.Library", "nn.load_library"}


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - PLAIN))
def test_every_public_function_names_the_near_one(name):
    function = PUBLIC[name]
    names = list(inspect.signature(function).parameters)
    with pytest.raises(TypeError, match=r"^\w+: got an unexpected keyword argument 'nonsense'; it takes "):
        function(nonsense=1)
    for own in names:
        if len(own) > 4:
            slip = own[:-2] + own[-1]
            if slip not in names:
                with pytest.raises(TypeError, match=rf"'{slip}'; did you mean {own}\?$"):
                    function(**{slip: 1})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: xc.conv(X, W, pad=1), "'pad'; did you mean padding?"),
        (lambda: xc.conv(X, W, pads=(1, 1, 1, 1)), "'pads'; did you mean padding?"),
        (lambda: xc.conv(X, W, auto_pad="SAME_UPPER"), "'auto_pad'; did you mean padding?"),
        (lambda: xc.conv(X, W, strides=2), "'strides'; did you mean stride?"),
        (lambda: xc.conv(X, W, window_strides=2), "'window_strides'; did you mean stride?"),
        (lambda: xc.conv(X, W, dilations=2), "'dilations'; did you mean dilation?"),
        (lambda: xc.conv(X, W, rate=2), "'rate'; it takes x, w, b"),
        (lambda: xc.conv(X, W, rhs_dilation=2), "'rhs_dilation'; did you mean dilation?"),
        (lambda: xc.conv(X, W, group=2), "'group'; did you mean groups?"),
        (lambda: xc.conv(X, W, feature_group_count=2), "'feature_group_count'; did you mean groups?"),
        (lambda: xc.conv(X, W, bias=None), "'bias'; did you mean b?"),
        (lambda: xc.conv(X, weight=W), "'weight'; did you mean w?"),
        (lambda: xc.conv(input=X, weight=W), "conv: got an unexpected keyword argument 'input'; did you mean x?; got"),
        (lambda: xc.conv(X, W, kernel_size=3), "'kernel_size'; the shape of w says it"),
        (lambda: xc.conv(X, W, data_format="NHWC"), "'data_format'; did you mean layout?"),
        (lambda: xc.conv(X, W, mode="reflect"), "'mode'; did you mean padding_mode?"),
        (lambda: xc.pad(X, 1, padding_mode="reflect"), "'padding_mode'; did you mean mode?"),
        (lambda: xc.pad(X, pad_width=1), "'pad_width'; did you mean padding?"),
        (lambda: xc.max_pool(X, kernel_size=2), "max_pool: got an unexpected keyword argument 'kernel_size'; did you"),
        (lambda: xc.max_pool(X, kernel_shape=2), "'kernel_shape'; did you mean window?"),
        (lambda: xc.avg_pool(X, pool_size=2), "'pool_size'; did you mean window?"),
        (lambda: xc.avg_pool(X, ksize=2), "'ksize'; did you mean window?"),
        (lambda: xc.lp_pool(X, norm_type=2, window=2), "'norm_type'; did you mean p?"),
        (lambda: xc.adaptive_avg_pool(X, output_size=2), "'output_size'; did you mean output_shape?"),
        (lambda: xc.conv_vjp(grad_output=X, x=X, w=W), "'grad_output'; did you mean dz?"),
        (
            lambda: xc.set_options(num_threads=2),
            "set_options: got an unexpected keyword argument 'num_threads'",
        ),
        (lambda: xc.zero_pad(X, padding=1), "'padding'; did you mean pad?"),
        (lambda: xc.conv_forward(X, W, X, hparams={}), "'hparams'; did you mean hparameters?"),
        (
            lambda: nn.Conv(8, kernel_size=3),
            "'kernel_size'; did you mean kernel?",
        ),
        (lambda: nn.Conv(out_channels=8, kernel=3), "'out_channels'; did you mean features?"),
        (lambda: nn.Dense(units=8), "Dense: got an unexpected keyword argument 'units'; did you mean features?"),
        (lambda: nn.ReLU(inplace=True), "ReLU: got an unexpected keyword argument 'inplace'; it takes none"),
        (
            lambda: nn.Adam(learning_rate=1),
            "'learning_rate'; did you mean lr?",
        ),
    ],
)
def test_words_of_other_libraries(call, words):
    with pytest.raises(TypeError, match=re.escape(words)):
        call()


@pytest.mark.needs("torch")
def test_pytorch_functions():
    import torch

    from xpconv import torch as xt

    with pytest.raises(TypeError, match=r"^conv: .*'bias'; did you mean b\?$"):
        xt.conv(torch.ones(1, 4, 4, 1), torch.ones(3, 3, 1, 1), bias=None)
    with pytest.raises(TypeError, match=r"^max_pool: takes 2 positional arguments but 3 were given; by "):
        xt.max_pool(torch.ones(1, 4, 4, 1), 2, 2)


def test_other_calls_that_do_not_fit():
    """They are told in Python's own words, and what follows by keyword."""
    for call, words in (
        (lambda: xc.conv(X), r"^conv\(\) missing 1 required positional argument: 'w'$"),
        (lambda: xc.conv(), r"^conv\(\) missing 2 required positional arguments: 'x' and 'w'$"),
        (lambda: xc.conv(X, W, x=X), r"^conv\(\) got multiple values for argument 'x'$"),
        (
            lambda: xc.max_pool(X, 2, 2),
            r"takes 2 positional arguments but 3 were given; by keyword: stride, ",
        ),
        (lambda: xc.zero_pad(X, 1, 2), r"^zero_pad: takes 2 positional arguments but 3 were given$"),
        (lambda: nn.Conv(), r"^Conv.__init__\(\) missing 2 required positional arguments: 'features' and 'kernel'$"),
    ):
        with pytest.raises(TypeError, match=words):
            call()


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - PLAIN))
def test_the_signature_is_the_functions_own(name):
    function = PUBLIC[name]
    inner = inspect.unwrap(function if inspect.isfunction(function) else function.__init__)
    entered = function if inspect.isfunction(function) else function.__init__
    assert inspect.signature(entered) == inspect.signature(inner)
    assert not any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in inspect.signature(entered).parameters.values())
    assert (entered.__doc__, entered.__module__) == (inner.__doc__, inner.__module__)
    if inspect.isfunction(function):
        assert pickle.loads(pickle.dumps(function)) is function


def test_every_argument_arrives_in_its_place():
    """Each parameter, by place and by keyword, in every number that the function takes."""

    def plain(a, b, c=3, *, d, e=5):
        return a, b, c, d, e

    entered = told.keywords(plain)
    for count in range(4):
        values = {"a": 11, "b": 12, "c": 13}
        places, rest = list(values.values())[:count], dict(itertools.islice(values.items(), count, None))
        for more in ({"d": 14}, {"d": 14, "e": 15}):
            assert entered(*places, **rest, **more) == plain(*places, **rest, **more)
    for missing in ({"a": 1, "b": 2}, {"a": 1, "d": 4}, {"d": 4}):
        with pytest.raises(TypeError) as right:
            plain(**missing)
        with pytest.raises(TypeError) as got:
            entered(**missing)
        assert str(got.value).replace("plain", "") == str(right.value).replace("plain", "")


def test_a_traceback_shows_the_function():
    with pytest.raises(ValueError, match="conv: ") as caught:
        xc.conv(X, np.ones((3, 3, 2, 1)))
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[1:3] == ["conv", "conv"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: xc.conv(X, W, padding="SAME"), "did you mean 'same'?"),
        (lambda: xc.conv(X, W, padding="SAME_UPPER"), "did you mean 'same'?"),
        (lambda: xc.conv(X, W, padding="VALID"), "did you mean 'valid'?"),
        (lambda: xc.conv(X, W, padding="cuasal"), "did you mean 'causal'?"),
        (lambda: xc.conv(X, W, layout="NCHW"), "did you mean 'channels_first'?"),
        (lambda: xc.max_pool(X, 2, layout="channel_last"), "did you mean 'channels_last'?"),
        (lambda: xc.conv(X, W, padding=1, padding_mode="wrap"), "did you mean 'circular'?"),
        (lambda: xc.pad(X, 1, mode="edge"), "did you mean 'replicate'?"),
        (lambda: xc.conv(X, W, algorithm="FFT"), "did you mean 'fft'?"),
        (lambda: xc.max_pool_vjp(X, X, 1, ties="First"), "did you mean 'first'?"),
        (lambda: xc.explain(X.shape, W.shape, of="weights_grad"), "did you mean 'weight_grad'?"),
        (lambda: xc.pool_forward(X, {"f": 2, "stride": 2}, mode="avg"), "did you mean 'average'?"),
        (lambda: xc.pool_forward(X, {"f": 2, "strides": 2}), "did you mean 'stride' by 'strides'?"),
        (lambda: xc.conv_forward(X, W, np.ones((1, 1, 1, 1)), {"stride": 1, "padding": 1}), "'pad' by 'padding'?"),
        (lambda: nn.Conv(8, 3, layout="NHWC"), "did you mean 'channels_last'?"),
        (lambda: Settings(optimizer="adm"), "did you mean 'adam'?"),
    ],
)
def test_near_words_of_an_option(call, words):
    with pytest.raises(ValueError, match=re.escape(words) + "$"):
        call()


def test_nothing_near_is_not_guessed():
    with pytest.raises(ValueError, match=r"got padding='twice', x.shape") as caught:
        xc.conv(X, W, padding="twice")
    assert "did you mean" not in str(caught.value)


def test_the_table_of_other_libraries_words_is_not_of_our_own():
    """What is told to be meant is a parameter of something public, so that no line of the table is dead."""
    own = {name for one in PUBLIC.values() for name in inspect.signature(one).parameters}
    for word, meant in told.ELSEWHERE.items():
        assert set(meant) & own, word

"""The peers compute what xpconv computes, in every pass that they enter."""

import importlib
from contextlib import nullcontext
from math import prod

import numpy as np
import pytest

import xpconv as xc
from bench import peers
from bench.commands.scale import channels_first
from bench.contest.check import agree, relative
from bench.errors import ResultError
from bench.layers import BOTH, FORWARD, INPUT, RESULTS, WEIGHT, Layer, Pool, draw
from bench.networks import image, read, weighted
from bench.peers.course import CourseLoops, Part
from bench.peers.evaluator import LOOPS, _part
from bench.peers.own import Own
from bench.peers.peer import Where
from bench.peers.torch import limited
from bench.sets import EVALUATOR, QUICK, QUICK_GROUPED, QUICK_POOLS

PASSES = (FORWARD, BOTH, INPUT, WEIGHT)
DILATED = Layer(2, 9, 8, 4, 6, 3, stride=2, padding=2, groups=2, dilation=2)
MORE = tuple(Pool(kind, 2, 9, 8, 4, 3, 2, more=1) for kind in ("max", "average"))  # padding after an axis alone
CASES = (QUICK[0], QUICK[3], *QUICK_GROUPED, DILATED, *QUICK_POOLS, *MORE)
ENTERED = {
    "torch": {Layer: PASSES, Pool: (FORWARD, BOTH)},
    "onnx": {Layer: (FORWARD,), Pool: (FORWARD,)},
    "jax": {Layer: (FORWARD,), Pool: (FORWARD,)},
    "im2col": {Layer: (FORWARD,), Pool: ()},
}


def kind(name):
    """Give the class of a peer."""
    return importlib.import_module(f"bench.peers.{name}").PEER


def loaded(name):
    """Load a peer."""
    return kind(name)(*kind(name).modules()[-1:])


@pytest.mark.needs("numba")
def test_compiled_kernels_enter_beside_numpy_alone():
    peer = loaded("fast")
    for case in (*QUICK_GROUPED, DILATED, QUICK_POOLS[0]):
        own, fast = (one.enter(case, draw(case), PASSES, Where()) for one in (Own(), peer))
        exact = {entry.passes: entry for entry in own}
        entered = [(entry.name, entry.passes) for entry in fast]
        assert entered[: len(own)] == [("fast", entry.passes) for entry in own]
        assert entered[len(own) :] == ([("prepared", FORWARD)] if isinstance(case, Layer) else [])
        for entry in fast:
            for got, wanted in zip(entry.results(), exact[entry.passes].results(), strict=True):
                assert relative(got, wanted) < 1e-5


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.needs(*kind(n).packages)) for n in ENTERED])
def test_it_enters_with_the_right_results(name):
    peer = loaded(name)
    with limited(peer.module, 1) if name == "torch" else nullcontext():
        compare(peer, name)


def compare(peer, name):
    for case in CASES if name != "jax" else (DILATED, *QUICK_POOLS[:2]):
        data = draw(case)
        own, theirs = (one.enter(case, data, PASSES, Where()) for one in (Own(), peer))
        assert {entry.passes for entry in theirs} == set(ENTERED[name][type(case)]), case.name
        exact = {entry.passes: entry for entry in own}
        for entry in theirs:
            assert entry.name.split(" ")[0] == name
            for what, got, wanted in zip(
                RESULTS[entry.passes], entry.results(), exact[entry.passes].results(), strict=False
            ):
                assert relative(got, wanted) < 1e-5, (case.name, entry.name, what)
        agree(case.name, [*own, *theirs], theirs[0].name if theirs else "", (1e-5, 1e-5, 1e-5))


@pytest.mark.needs("onnx")
@pytest.mark.parametrize("layer", [QUICK[3], *QUICK_GROUPED, DILATED], ids=lambda layer: layer.name)
def test_evaluators_have_the_right_results(layer):
    peer, data = loaded("evaluator"), draw(layer)
    (exact,) = (entry for entry in Own().enter(layer, data, (FORWARD,), Where()))
    entries = {entry.name: entry for entry in peer.enter(layer, data, PASSES, Where())}
    assert {"theirs", "ours"} <= set(entries) <= set(peer.titles)
    plain = entries.pop("plain", None)  # of onnx up to version 1.22
    for entry in entries.values():
        assert entry.passes == FORWARD
        assert relative(entry.results()[0], exact.results()[0]) < 1e-5
    if plain is not None:
        part = plain.call()
        assert plain.scale * part.shape[1] == layer.filters
        assert relative(part.transpose(0, 2, 3, 1), exact.call()[..., : part.shape[1]]) < 1e-5


def test_few_filters_stand_for_slow_loops():
    for layer in EVALUATOR.cases:
        part = _part(layer)
        assert part.groups == 1
        assert part.filters == 1 or prod(part.output_shape) * part.channels <= LOOPS


@pytest.mark.needs("onnx")
def test_the_nodes_of_a_model_run_by_themselves():
    network = read("squeezenet")
    model = weighted(network)
    entries = {entry.name: entry for entry in loaded("evaluator").nodes(model, image(model))}
    ours, theirs = (entries[name].results() for name in ("ours", "theirs"))
    assert len(ours) == len(theirs) == len(network.cases)
    for got, wanted, case in zip(ours, theirs, network.cases, strict=True):
        assert got.shape == (1, case.output_shape[-1], *case.output_shape[1:3])
        assert relative(got, wanted) < 1e-4


@pytest.mark.parametrize("layer", [*QUICK, *QUICK_GROUPED, DILATED], ids=lambda layer: layer.name)
def test_the_loops_over_all_of_the_output_are_the_courses_blocks(layer):
    data = draw(layer)
    loops = CourseLoops(layer, data, Part(*map(range, layer.output_shape)), np.float64)
    loops.both()
    x, w, b, dz = (array.astype(np.float64) for array in (data.x, data.w, data.b, data.dz))
    np.testing.assert_allclose(loops.z, xc.conv(x, w, b, **layer.keywords), rtol=1e-12, atol=1e-12)
    for got, want in zip(loops.gradients(), xc.conv_vjp(dz, x, w, **layer.keywords), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_the_loops_time_stands_for_the_whole_layer():
    entries = loaded("course").enter(QUICK[3], draw(QUICK[3]), PASSES, Where())
    assert [entry.passes for entry in entries] == [FORWARD, BOTH]
    assert all(entry.arrays is None and entry.scale > 0 for entry in entries)


def test_channels_first_is_the_same_layer():
    layer, data = QUICK[4], draw(QUICK[4])
    (last,) = Own().enter(layer, data, (FORWARD,), Where())
    (first,) = Own().enter(layer, channels_first(data), (FORWARD,), Where(layout="channels_first"))
    np.testing.assert_allclose(first.call().transpose(0, 2, 3, 1), last.call(), rtol=1e-4, atol=1e-5)


def test_results_that_differ_are_refused():
    layer, data = QUICK[0], draw(QUICK[0])
    entries = [*Own().enter(layer, data, PASSES, Where()), *loaded("im2col").enter(layer, data, PASSES, Where())]
    agree(layer.name, entries, "im2col", (1e-5,))
    wrong = draw(QUICK[0]).each(lambda array: array * np.float32(1.01))
    with pytest.raises(ResultError, match=r"im2col: the result, beside xpconv's, is off by 0\.018"):
        agree(layer.name, [*entries[:4], *loaded("im2col").enter(layer, wrong, PASSES, Where())], "none", (1e-3,))
    with pytest.raises(ResultError, match="shape"):
        relative(np.ones((2, 1)), np.ones((2, 2)))


def test_peers_are_loaded_in_the_order_of_turns():
    found = peers.load(("own", "im2col", "course"), ("jax",))
    assert [title for peer in found for title in peer.titles] == ["course", "im2col", "xpconv"]
    assert [title for peer in peers.load(("course", "own"), ("course",)) for title in peer.titles] == ["xpconv"]

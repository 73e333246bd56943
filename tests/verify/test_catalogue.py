"""The catalogue: complete, stable, and what it calls exact can be represented."""

import hashlib
import inspect
import math
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import xpconv
from xpconv.algorithms import REGISTRY
from xpconv.verify import cases, data
from xpconv.verify.evidence import digest
from xpconv.verify.oracle import Oracle
from xpconv.verify.tasks import DTYPES, EXACT, NAMES, TIERS, find, tasks

ALL = list(tasks())
CORE = list(tasks(core=True))
ORACLE = Oracle(0)

# version, fingerprint of the setups, digest of the exact results of the core in float32. If one of the last two has to
# change, the first has to be raised: reports made before are stale
PINNED = (1, "ca494ad2ec1a0446", "cf3d96282a5c88c7")


def test_a_changed_catalogue_has_another_version():
    content = hashlib.sha256()
    for task in tasks(("float32",), core=True):
        if task.tier == "exact":
            results = [exact.nearest.astype(np.float64) for exact in ORACLE.exact(task)]
            content.update(f"{task.key} {digest(results)}\n".encode())
    assert (cases.VERSION, cases.fingerprint()[:16], content.hexdigest()[:16]) == PINNED


def test_every_check_has_its_own_key():
    keys = Counter(task.key for task in ALL)
    assert [key for key, count in keys.items() if count > 1] == []
    assert all(find(task.source).source == task.source for task in CORE[::50])
    with pytest.raises(ValueError, match="no case 'conv/nonsense/whole/float32'"):
        find("conv/nonsense/whole/float32")


TOOLS = {"error_bound", "explain", "set_options"}
# the catalogue's gaps, as docs/verify.md says them: a name is taken out here when it goes in there
NOT_YET = {
    "adaptive_avg_pool", "adaptive_avg_pool_vjp", "adaptive_max_pool", "adaptive_max_pool_vjp", "conv_transpose",
    "conv_transpose_vjp", "fold", "lp_pool", "lp_pool_vjp", "max_unpool", "pad_vjp", "unfold",
}  # fmt: skip
KEYWORDS_NOT_YET = {"padding_mode", "mode", "dtype"}


def test_every_public_operation_is_there_or_a_known_gap():
    assert set(NAMES) | TOOLS | NOT_YET == set(xpconv.__all__)
    assert not set(NAMES) & NOT_YET
    page = (Path(__file__).parents[2] / "docs" / "verify.md").read_text(encoding="utf-8")
    for name in NOT_YET | KEYWORDS_NOT_YET:
        assert f"`{name.removesuffix('_vjp')}`" in page or f"`{name}`" in page or f"`{name}=`" in page, name


def test_the_core_is_a_part_that_has_everything_once():
    keys = {task.key for task in ALL}
    assert {task.key for task in CORE} < keys
    for part in (lambda t: t.operation.name, lambda t: t.tier, lambda t: t.dtype, lambda t: t.algorithm):
        assert set(map(part, CORE)) == set(map(part, ALL))
    assert {t.operation.variant for t in CORE} == {t.operation.variant for t in ALL}
    for table in (cases.CONV, cases.POOL):
        core = [setup.options() for setup in table.values() if setup.core]
        everything = {name for setup in table.values() for name in setup.options()}
        assert {name for options in core for name in options} == everything
        assert {setup.layout for setup in table.values() if setup.core} == {"channels_last", "channels_first"}
        assert {len(setup.size) for setup in table.values() if setup.core} == {1, 2, 3}


@pytest.mark.parametrize("name", NAMES)
def test_every_keyword_is_used(name):
    """Each keyword of each operation is given, with more than its default, in some case."""
    parameters = inspect.signature(getattr(xpconv, name)).parameters
    keywords = {p.name for p in parameters.values() if p.kind is p.KEYWORD_ONLY}
    calls = [t.operation.call(t.setup, t.algorithm) for t in ALL if t.operation.name == name]
    used = {keyword for call in calls for keyword in call.keywords}
    assert keywords - used - KEYWORDS_NOT_YET == set()


def test_every_form_of_padding_is_there():
    forms = {type(s.padding) if not isinstance(s.padding, str) else s.padding for s in cases.CONV.values()}
    assert {int, tuple, "valid", "same", "same_lower", "causal"} <= forms
    assert any(isinstance(s.padding, tuple) and isinstance(s.padding[0], tuple) for s in cases.CONV.values())
    assert any(isinstance(s.padding, tuple) and isinstance(s.padding[0], int) for s in cases.CONV.values())


def test_algorithms_come_from_the_registry():
    named = {task.algorithm for task in ALL if task.operation.name == "conv"}
    assert named == {*REGISTRY, "auto"}
    assert {task.algorithm for task in ALL if task.tier != "bound" and task.algorithm} <= set(EXACT)


def test_tiers_and_dtypes():
    assert {task.tier for task in ALL} == set(TIERS)
    assert {task.dtype for task in ALL} == set(DTYPES)
    by_name = {name: {t.tier for t in ALL if t.operation.name == name} for name in NAMES}
    gradients = [name for name in NAMES if "grad" in name or "vjp" in name or "backward" in name]
    assert gradients
    for name, tiers in by_name.items():
        assert "exact" in tiers
        assert ("adjoint" in tiers) == (name in gradients)
    rounded = set(NAMES) - {"max_pool", "pad", "zero_pad", "create_mask_from_window"}
    assert all("bound" in by_name[name] for name in rounded)


@pytest.mark.parametrize(("seed", "core"), [(0, False), (1, True), (12345, True)])
def test_what_is_called_exact_is_representable(seed, core):
    """Data and results of the exact tier are whole and fit; sums of absolute values stay below float32's 2**24."""
    oracle = Oracle(seed) if seed else ORACLE
    for task in tasks(("float16", "float32"), core=core):
        if task.tier == "bound" or task.algorithm == "direct":
            continue
        for drawn in oracle.data(task).values():
            if drawn.numerators is not None and task.kind in data.EXACT_KINDS:
                np.testing.assert_array_equal(drawn.values.astype(float), drawn.numerators.astype(float))
        for exact, kind in zip(oracle.exact(task), task.operation.dtypes * 3, strict=False):
            assert not exact.rest.any(), task.key
            if kind == "same" and task.kind in ("whole", "equal"):
                finite = exact.nearest[np.isfinite(exact.nearest)]
                assert (finite == np.round(finite)).all()
                assert (abs(finite) < 2**24).all()
                assert (abs(finite) < 65504).all()
        if task.tier == "adjoint":
            (name, number), *_ = task.operation.adjoint.pairs
            assert np.sum(oracle.data(task)[name].numerators * oracle.exact(task)[number].nearest) != 0


def test_partial_sums_fit_in_float32():
    """Whatever the order of a sum: the largest sum of absolute values."""
    largest = 0
    for task in tasks(("float32",)):
        setup, operation = task.setup, task.operation
        if task.tier != "exact" or operation.steps is None or task.algorithm == "direct" or task.kind != "whole":
            continue
        size = [abs(d.numerators).max(initial=0) for d in ORACLE.data(task).values()]
        products = math.prod(sorted(map(int, size))[-2:]) if 2 in operation.degrees else max(map(int, size))
        largest = max(largest, max(operation.steps(setup)) * products)
    assert 2**12 < largest < 2**24


def test_the_data_are_the_same_bits_everywhere():
    """Whatever the version of NumPy; these digests are a part of the catalogue."""
    found = {
        kind: digest([data.draw("a/b", (3, 4), kind, "float32", 0).values])[:12]
        for kind in (*data.EXACT_KINDS, *data.REAL_KINDS)
    }
    assert found == {
        "whole": "7091bd2d901a",
        "nan": "14627d9cd8d2",
        "equal": "d3924c424055",
        "infinite": "a46d8b775ebb",
        "signed": "4810fdf708c4",
        "positive": "839d653ceb07",
        "wide": "af693c771197",
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [*data.EXACT_KINDS, *data.REAL_KINDS])
def test_the_data_are_known_exactly(kind, dtype):
    drawn = data.draw("key", (50, 4), kind, dtype, 5)
    assert drawn.values.dtype == dtype
    if drawn.numerators is None:
        assert not np.isfinite(drawn.values).all()
        return
    assert np.isfinite(drawn.values).all()
    exact = [Fraction(int(n), drawn.one) for n in drawn.numerators.ravel()]
    assert [Fraction(v) for v in drawn.values.ravel().tolist()] == exact
    if kind in data.REAL_KINDS:
        digits = np.finfo(dtype).nmant + 1
        assert len(set(exact)) > 150
        odd = [abs(n) // (n & -n) for n in map(int, drawn.numerators.ravel())]
        assert max(n.bit_length() for n in odd) == digits  # every digit is in use
        assert (min(exact) > 0) == (kind == "positive")


def test_data_depend_on_everything_that_names_them():
    def draw(key="a", kind="signed", dtype="float64", seed=0):
        return data.draw(key, (5,), kind, dtype, seed).values.tolist()

    assert draw() == draw()
    assert len({tuple(v) for v in (draw(), draw("b"), draw(kind="wide"), draw(dtype="float32"), draw(seed=1))}) == 5
    assert draw(kind="whole", dtype="float32") == draw(kind="whole")
    assert data.draw("a", (5,), "whole", "float32", 0, unit=12).values.tolist() == [12 * v for v in draw(kind="whole")]

"""The catalogue: complete, stable, and what it calls exact can be represented."""

import hashlib
import importlib
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

import xpconv
from tests.definition import ORACLE
from xpconv.algorithms import EVERYWHERE
from xpconv.verify.catalogue import cases, data
from xpconv.verify.catalogue.course import COURSE
from xpconv.verify.catalogue.dtypes import COMPLEX, DTYPES, FLOATS, INTEGERS, nearest, wrap
from xpconv.verify.catalogue.tasks import EXACT, NAMES, OPERATIONS, TIERS, find, tasks
from xpconv.verify.judge.digest import digest
from xpconv.verify.judge.oracle import SPECIAL, Oracle

ALL = list(tasks())
CORE = list(tasks(core=True))

# version, fingerprint of the setups, digest of the exact results of the core in float32. If one of the last two has to
# change, the first has to be raised: reports made before are stale
PINNED = (4, "a0dab66140ff8fe8", "28819e8d86ed5b78")


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


def test_every_public_operation_is_there():
    assert set(NAMES) | TOOLS == set(xpconv.__all__)
    assert not set(NAMES) & TOOLS


def test_the_core_is_a_part_that_has_everything_once():
    keys = {task.key for task in ALL}
    assert {task.key for task in CORE} < keys
    for part in (lambda t: t.operation.name, lambda t: t.tier, lambda t: t.dtype, lambda t: t.algorithm):
        assert set(map(part, CORE)) == set(map(part, ALL))
    assert {t.operation.variant for t in CORE} == {t.operation.variant for t in ALL}
    for table in (cases.CONV, cases.POOL, cases.TRANSPOSE, cases.COLUMNS):
        core = [setup.options() for setup in table.values() if setup.core]
        everything = {name for setup in table.values() for name in setup.options()}
        assert {name for options in core for name in options} == everything
        assert {setup.layout for setup in table.values() if setup.core} == {"channels_last", "channels_first"}
        assert {len(setup.size) for setup in table.values() if setup.core} == {1, 2, 3}


def test_every_form_of_padding_is_there():
    forms = {type(s.padding) if not isinstance(s.padding, str) else s.padding for s in cases.CONV.values()}
    assert {int, tuple, "valid", "same", "same_lower", "causal"} <= forms
    assert any(isinstance(s.padding, tuple) and isinstance(s.padding[0], tuple) for s in cases.CONV.values())
    assert any(isinstance(s.padding, tuple) and isinstance(s.padding[0], int) for s in cases.CONV.values())


def test_algorithms_come_from_the_registry():
    named = {task.algorithm for task in ALL if task.operation.name == "conv"}
    assert named == {*EVERYWHERE, "auto"}
    assert {task.algorithm for task in ALL if task.tier != "bound" and task.algorithm} == set(EXACT)


def test_tiers_and_dtypes():
    assert {task.tier for task in ALL} == set(TIERS)
    assert {task.dtype for task in ALL} == set(DTYPES)
    by_name = {name: {t.tier for t in ALL if t.operation.name == name} for name in NAMES}
    gradients = [name for name in NAMES if "grad" in name or "vjp" in name or "backward" in name or name == "fold"]
    assert gradients
    for name, tiers in by_name.items():
        assert "exact" in tiers
        assert ("adjoint" in tiers) == (name in gradients)
    copied = {"adaptive_max_pool", "max_pool", "max_unpool", "pad", "unfold", "zero_pad", "create_mask_from_window"}
    assert all(("bound" in tiers) == (name not in copied) for name, tiers in by_name.items())
    by_dtype = {dtype: {t.operation.name for t in ALL if t.dtype == dtype} for dtype in DTYPES}
    divided = {name for name in NAMES if "avg" in name or "lp_" in name}
    course = {operation.name for operation in COURSE} - {"zero_pad"}
    assert set(NAMES) == by_dtype["float32"] == by_dtype["float16"] | by_dtype["bfloat16"]
    assert by_dtype["int8"] == by_dtype["uint64"] == set(NAMES) - divided - course
    ordered = {name for name in NAMES if "max_pool" in name or "lp_" in name}
    assert by_dtype["complex64"] == set(NAMES) - ordered - course


@pytest.mark.parametrize(
    ("seed", "core"), [(0, False), *(pytest.param(seed, True, marks=pytest.mark.slow) for seed in (1, 12345))]
)
def test_what_is_called_exact_is_representable(seed, core):
    """Data and results of the exact tier are whole and fit; sums of absolute values stay below float32's 2**24."""
    oracle = Oracle(seed) if seed else ORACLE
    for task in tasks(("float16", "float32"), core=core):
        if task.tier == "bound" or task.algorithm == "direct":
            continue
        if task.operation.name == "max_unpool" or not task.setup.real:  # what is copied, and what is large
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


def test_special_data_reach_an_array():
    """Factors of sums stay whole, so something else has to hold the NaN, the infinities and the equal values."""
    special = [operation for operation in OPERATIONS if set(operation.kinds) & set(SPECIAL)]
    assert {operation.name for operation in special} >= {"max_pool", "max_pool_vjp", "pool_forward", "pool_backward"}
    for operation in special:
        case = next(iter(operation.table))
        names = operation.call(operation.table[case], "").names()
        assert set(map(operation.role, names)) - set(operation.factors)


def test_partial_sums_fit_in_float32():
    """Whatever the order of a sum: the largest sum of absolute values."""
    largest = 0
    for task in tasks(("float32",)):
        setup, operation = task.setup, task.operation
        if task.tier != "exact" or operation.sums is None or task.algorithm == "direct" or task.kind != "whole":
            continue
        if task.operation.multiples or setup.real:
            size = [abs(d.numerators).max(initial=0) for d in ORACLE.data(task).values()]
        else:  # large, and nothing is divided
            size = [data.WHOLE] * 2
        products = math.prod(sorted(map(int, size))[-2:]) if 2 in operation.degrees else max(map(int, size))
        largest = max(largest, max(operation.sums.steps(setup)) * products)
    assert 2**12 < largest < 2**24


def test_the_data_are_the_same_bits_everywhere():
    """Whatever the version of NumPy; these digests are a part of the catalogue."""
    found = {
        kind: digest([data.draw("a/b", (3, 4), kind, "float32", 0).values])[:12]
        for kind in (*data.EXACT_KINDS, *data.REAL_KINDS)
        if kind != "full"
    }
    found["integers"] = digest([data.draw("a/b", (3, 4), "full", "int16", 0).values])[:12]
    found["complex"] = digest([data.draw("a/b", (3, 4), "signed", "complex64", 0).values])[:12]
    found["places"] = digest([data.places("a/b", 2, 2, 4, 9, 0)])[:12]
    assert found == {
        "whole": "7091bd2d901a",
        "nan": "14627d9cd8d2",
        "equal": "d3924c424055",
        "infinite": "a46d8b775ebb",
        "signed": "4810fdf708c4",
        "positive": "839d653ceb07",
        "wide": "af693c771197",
        "integers": "f92dc8facdfc",
        "complex": "b725c258172e",
        "places": "8a0f0df9976f",
    }


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", [kind for kind in (*data.EXACT_KINDS, *data.REAL_KINDS) if kind != "full"])
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


@pytest.mark.needs("ml_dtypes")
def test_bfloat16_is_rounded_as_its_library_rounds_it():
    ml_dtypes = importlib.import_module("ml_dtypes")
    numbers = np.array([0, 1, -257, 258, 259, 2**17 + 512, 2**17 + 1536, np.inf, -np.inf, np.nan, 3.0e38])
    wanted = numbers.astype(np.float32).astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(nearest(numbers, "bfloat16"), wanted)
    drawn = data.draw("a", (50,), "signed", "bfloat16", 0)
    np.testing.assert_array_equal(nearest(drawn.values, "bfloat16"), drawn.values)
    assert [Fraction(v) for v in drawn.values.tolist()] == [Fraction(int(n), drawn.one) for n in drawn.numerators]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_use_their_whole_range_and_wrap(dtype):
    limits = np.iinfo(dtype)
    values = data.draw("a", (200,), "full", dtype, 0).values
    assert values.dtype == dtype
    assert int(values.max()) - int(values.min()) > (int(limits.max) - int(limits.min)) * 0.9
    assert wrap(np.array([limits.max + 1, limits.min - 1, 5], object), dtype).tolist() == [limits.min, limits.max, 5]
    assert wrap(np.array([-np.inf]), dtype).tolist() == [limits.min]


@pytest.mark.parametrize("dtype", COMPLEX)
def test_complex_data_are_known_exactly(dtype):
    for kind in ("whole", "signed"):
        drawn = data.draw("a", (20,), kind, dtype, 0)
        for value, exact in zip(drawn.values.tolist(), drawn.numerators.tolist(), strict=True):
            assert (Fraction(value.real), Fraction(value.imag)) == (
                Fraction(exact.real, drawn.one),
                Fraction(exact.imag, drawn.one),
            )


def test_data_depend_on_everything_that_names_them():
    def draw(key="a", kind="signed", dtype="float64", seed=0):
        return data.draw(key, (5,), kind, dtype, seed).values.tolist()

    assert draw() == draw()
    assert len({tuple(v) for v in (draw(), draw("b"), draw(kind="wide"), draw(dtype="float32"), draw(seed=1))}) == 5
    assert draw(kind="whole", dtype="float32") == draw(kind="whole")
    assert data.draw("a", (5,), "whole", "float32", 0, unit=12).values.tolist() == [12 * v for v in draw(kind="whole")]

"""`check` in an open notebook: a record for a function, one for what holds them, and what is none of them."""

import numpy as np
import pytest

import xpconv
from tests.verify.target.homework import LOOPS, changed, namespace
from xpconv.verify import check


def create_mask_from_window(x):
    np.random.seed(1)  # noqa: NPY002
    print("noise")
    return x < 3


def test_a_function(capsys):
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    found = check(create_mask_from_window)
    assert (found.name, found.status) == ("create_mask_from_window", "wrong")
    assert str(found).splitlines()[0].startswith("create_mask_from_window: WRONG on ")
    assert repr(found) == str(found)
    page = found._repr_html_()
    assert "<details><summary>" in page
    assert "expected" in page
    assert capsys.readouterr().out == ""
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_what_holds_them():
    names = namespace({name: text for name, text in LOOPS.items() if name in ("zero_pad", "distribute_value")})
    found = check(names | {"creat_mask_from_windw": create_mask_from_window})
    statuses = {name: one.status for name, one in found.functions.items() if one.status != "absent"}
    assert statuses == {"zero_pad": "right", "distribute_value": "right"}
    assert "creat_mask_from_windw; did you mean create_mask_from_window?" in str(found)
    assert str(found).splitlines()[-1] == "2 of 2 functions are right; 6 are absent"
    assert found._repr_html_().count("<tr>") == 8


def test_another_name():
    def mine(X, pad):
        return xpconv.zero_pad(X, pad)

    assert check(mine, "zero_pad").status == "right"
    with pytest.raises(ValueError, match=r"check: 'mine' is none of the course's functions"):
        check(mine)
    with pytest.raises(TypeError, match=r"check: wants a function or globals\(\); got int"):
        check(3)


def test_near_names_are_asked_for():
    def pool_foward(A_prev, hparameters, mode="max"):
        return None

    with pytest.raises(ValueError, match=r"did you mean pool_forward\?"):
        check(pool_foward)


def test_a_cache_of_its_own():
    ways = [("return Z, (A_prev, W, b, hparameters)", "return Z, {'all': (A_prev, W, b, hparameters)}")]
    functions = changed("conv_forward", *ways)
    functions["conv_backward"] = LOOPS["conv_backward"].replace("hparameters = cache", "hparameters = cache['all']")
    assert check(namespace(functions)["conv_backward"]).status == "right"

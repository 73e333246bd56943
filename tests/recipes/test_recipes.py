"""The recipes of the documents: in each row of their tables both sides give the same numbers."""

import importlib
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.recipes import definitions

FOLDER = Path(__file__).parents[2] / "docs" / "recipes"
PART = re.compile(
    r"^```python\n(?P<code>.*?)^```|^\| `(?P<theirs>[^`]+)` \| `(?P<ours>[^`]+)` \|", re.MULTILINE | re.DOTALL
)

# page -> what must be installed; how many rows it has at least; how far apart results may be, of the largest number
PAGES = {
    "torch": (("torch",), 41, 1e-12),
    "jax": (("jax",), 18, 1e-5),
    "scipy": (("scipy", "skimage"), 54, 1e-12),
    "chainer": ((), 37, 1e-12),
    "tensorflow": ((), 31, 1e-12),
}


def host(result: Any) -> np.ndarray:
    return result.detach().numpy() if hasattr(result, "detach") else np.asarray(result)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.needs(*needed)) for name, (needed, _, _) in PAGES.items()]
)
def test_both_sides_of_every_row(name: str) -> None:
    compare(name, getattr(definitions, name.upper(), {}))


@pytest.mark.needs("tensorflow")
@pytest.mark.slow
def test_both_sides_of_every_row_of_tensorflows_by_itself() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compare("tensorflow", {"tf": importlib.import_module("tensorflow")})


def compare(name: str, theirs_by: dict[str, Any]) -> None:
    """Run both sides of each row of a page; of the left one with what is given."""
    _, least, apart = PAGES[name]
    names: dict[str, Any] = {"__name__": name, **theirs_by}
    rows = 0
    for part in PART.finditer((FOLDER / f"{name}.md").read_text(encoding="utf-8")):
        if part["code"]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the libraries' own imports
                exec(part["code"], names)
            continue
        theirs, ours = (host(eval(part[side], names)) for side in ("theirs", "ours"))
        assert theirs.shape == ours.shape, part["theirs"]
        largest = max(1.0, np.abs(theirs[np.isfinite(theirs)]).max())
        np.testing.assert_allclose(ours, theirs, rtol=apart, atol=apart * largest, err_msg=part["theirs"])
        assert np.ptp(theirs) > 0, part["theirs"]
        rows += 1
    assert rows >= least
    assert names["xc"] is xc

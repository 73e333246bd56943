"""Libraries that are found by name, and what is said of one that is installed and has no device."""

import re
import sys
from types import ModuleType, SimpleNamespace

import pytest

from xpconv._tools import libraries
from xpconv._tools.libraries import LibraryError


@pytest.fixture
def dpnp(monkeypatch):
    """Stand in for dpnp with no device."""
    module = ModuleType("dpnp")
    monkeypatch.setitem(sys.modules, "dpnp", module)
    monkeypatch.setitem(sys.modules, "dpctl", SimpleNamespace(get_num_devices=lambda: 0))
    return module


def test_a_runtime_without_a_device_is_no_backend(dpnp, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(LibraryError, match=r"'dpnp' is installed, but the SYCL runtime finds no device$"):
        libraries.load("dpnp")


def test_a_driver_that_lies_in_the_environment_is_named(dpnp, monkeypatch, tmp_path):
    (tmp_path / "lib").mkdir()
    driver = tmp_path / "lib" / "libintelocl.so"
    driver.touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(
        LibraryError, match=rf"; with OCL_ICD_FILENAMES={re.escape(str(driver))} it finds this processor$"
    ):
        libraries.load("dpnp")


def test_a_device_makes_it_one(dpnp, monkeypatch):
    monkeypatch.setitem(sys.modules, "dpctl", SimpleNamespace(get_num_devices=lambda: 1))
    assert libraries.load("dpnp").xp is dpnp

"""Setups: the definition sees channels last, whatever the layout of a call."""

from dataclasses import replace

import numpy as np

from tests.every import every
from xpconv.verify.catalogue.cases import TABLES
from xpconv.verify.catalogue.tasks import OPERATIONS

FIRST = [
    (operation, case)
    for operation in OPERATIONS
    for case, setup in operation.table.items()
    if setup.layout == "channels_first"
]


@every("operation, case", FIRST)
def test_arrays_are_brought_to_channels_last_and_back(operation, case):
    setup = operation.table[case]
    twin = replace(setup, layout="channels_last")
    for name in operation.call(setup, "").names():
        role = operation.role(name)
        shape = setup.shape(role)
        array = np.arange(np.prod(shape)).reshape(shape)
        turned = setup.last(role, array)
        assert turned.shape == twin.shape(role)
        np.testing.assert_array_equal(setup.back(role, turned), array)
        if array.ndim > 2 and role not in ("w", "cols"):
            np.testing.assert_array_equal(turned, np.moveaxis(array, 1, -1))
        assert twin.last(role, array) is array is twin.back(role, array)


def test_some_setups_are_channels_first():
    assert {operation.name for operation, _ in FIRST} >= {"conv", "conv_transpose", "max_pool", "fold", "max_unpool"}


def test_options_are_keywords_that_are_not_at_their_defaults():
    names = {name for table in TABLES for setup in table.values() for name in setup.options()}
    assert names == {
        "stride",
        "padding",
        "output_padding",
        "dilation",
        "groups",
        "padding_mode",
        "mode",
        "ceil_mode",
        "layout",
        "dtype",
    }

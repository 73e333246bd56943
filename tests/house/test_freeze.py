"""The digests that hold a change to the bit see a change."""

import numpy as np
import pytest

import xpconv as xc
from tests import freeze


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """One layer, dtype, layout and room are enough to see that something is compared."""
    monkeypatch.setattr(freeze, "LAYERS", freeze.LAYERS[:1])
    monkeypatch.setattr(freeze, "LAYOUTS", freeze.LAYOUTS[:1])
    monkeypatch.setattr(freeze, "DTYPES", {"numpy": ["float32"]})
    monkeypatch.setattr(freeze, "FEW", {1: (1,)})


def run(action, file):
    return freeze.main([action, str(file), "--quick", "--libraries", "numpy"])


def test_a_changed_bit_is_found(tmp_path, monkeypatch, capsys):
    file = tmp_path / "before.json"
    assert run("write", file) == 0
    assert run("compare", file) == 0
    assert "\n0 of " in capsys.readouterr().out
    right = xc.conv

    def other(x, w, b=None, **options):
        z = right(x, w, b, **options)
        return np.nextafter(z, 0) if options["algorithm"] == "gemm" else z

    monkeypatch.setattr(xc, "conv", other)
    assert run("compare", file) == 1
    told = [line.split(": ")[0] for line in capsys.readouterr().out.splitlines()[:-1] if " bytes" not in line]
    assert told == ["numpy|3x3|channels_last|float32|gemm|conv|1"]


def test_a_peak_beyond_its_room_is_found(tmp_path, monkeypatch, capsys):
    file = tmp_path / "before.json"
    run("write", file)
    right = xc.unfold

    def wasteful(x, window, **options):
        beside = np.ones(2 << 20, np.uint8)
        return right(x, window, **options)[: len(beside)]

    monkeypatch.setattr(xc, "unfold", wasteful)
    assert run("compare", file) == 1
    assert "unfold|1: " in capsys.readouterr().out

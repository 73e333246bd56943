"""What a run says of the libraries that it found."""

import sys
from types import ModuleType

import pytest

from xpconv.verify import run
from xpconv.verify.report.outcome import Backend


@pytest.mark.parametrize(
    ("allowed", "override", "words"),
    [
        (False, None, "off (CUPY_TF32"),
        (True, None, "on (CUPY_TF32"),
        (True, "0", "off (NVIDIA_TF32_OVERRIDE=0)"),
        (False, "1", "on (NVIDIA_TF32_OVERRIDE=1)"),
    ],
)
def test_tf32_is_shown_for_cupy(monkeypatch, allowed, override, words):
    monkeypatch.setitem(sys.modules, "cupy", ModuleType("cupy"))  # it is asked where it is loaded
    monkeypatch.setattr("xpconv._tools.machine.cupy_allows_tf32", lambda: allowed)
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    if override is not None:
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", override)
    assert run.tf32("numpy") == ""
    state = run.tf32("cupy")
    assert state.startswith(words)
    backend = Backend("cupy", "14.0", "cuda:0 (a GPU)", ("float32",), False, state)
    assert str(backend) == f"cupy 14.0 on cuda:0 (a GPU); float32; TF32 {state}"


@pytest.mark.needs("torch")
def test_tf32_is_shown_for_torch_on_a_gpu(monkeypatch):
    import torch

    switch = torch.backends.cuda.matmul
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    assert run.tf32("torch", "cpu") == ""
    before = switch.allow_tf32
    try:
        for allowed, word in ((True, "on"), (False, "off")):
            switch.allow_tf32 = allowed
            assert run.tf32("torch", "cuda:0") == f"{word} (torch.backends.cuda.matmul.allow_tf32 is {allowed})"
    finally:
        switch.allow_tf32 = before
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert run.tf32("torch", "cuda:0") == "off (NVIDIA_TF32_OVERRIDE=0)"

"""What a run says of the libraries that it found."""

import pytest

from xpconv.verify import run
from xpconv.verify.report.outcome import Backend


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "off"),
        ({"CUPY_TF32": "1"}, "on (CUPY_TF32"),
        ({"CUPY_TF32": "1", "NVIDIA_TF32_OVERRIDE": "0"}, "off (NVIDIA_TF32_OVERRIDE=0)"),
        ({"NVIDIA_TF32_OVERRIDE": "1"}, "on (NVIDIA_TF32_OVERRIDE=1)"),
    ],
)
def test_tf32_is_shown_for_cupy(monkeypatch, environment, words):
    for name in ("CUPY_TF32", "NVIDIA_TF32_OVERRIDE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert run.tf32("numpy") == ""
    state = run.tf32("cupy")
    assert state.startswith(words)
    backend = Backend("cupy", "14.0", "cuda:0 (a GPU)", ("float32",), False, state)
    assert str(backend) == f"cupy 14.0 on cuda:0 (a GPU); float32; TF32 {state}"


def test_tf32_is_shown_for_torch_on_a_gpu(monkeypatch):
    torch = pytest.importorskip("torch")
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

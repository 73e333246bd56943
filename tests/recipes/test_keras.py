"""The recipe for Keras's NumPy backend, under the layer tests that Keras brings."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUITES = {
    "convolutional": ("conv_test", "conv_transpose_test", "depthwise_conv_test", "separable_conv_test"),
    "pooling": ("average_pooling_test", "max_pooling_test"),
}
TRAINED = "not requires_trainable_backend"  # Keras's mark of what its NumPy backend, which cannot train, leaves out


@pytest.mark.needs("keras", "jax")
@pytest.mark.slow
@pytest.mark.parametrize("folder", SUITES)
def test_kerass_own_layer_tests(folder: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "recipes" / "keras.md").read_text(encoding="utf-8")
    code = re.search(r"^```\{code-block\} python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[1]
    code += "\nimport jax\njax.lax.conv_general_dilated = jax.lax.conv_transpose = jax.lax.reduce_window = None\n"
    (tmp_path / "recipe.py").write_text(code, encoding="utf-8")
    suites = [f"keras.src.layers.{folder}.{suite}" for suite in SUITES[folder]]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "recipe",
            "-p",
            "no:cacheprovider",
            "-m",
            TRAINED,
            "--pyargs",
            *suites,
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": "numpy", "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 40, done.stdout[-2000:]
    assert "failed" not in done.stdout

"""The backend fixture, the options of the run, and what it leaves out."""

import contextlib
import gc
import os
from collections.abc import Iterator

import hypothesis
import pytest

pytest.register_assert_rewrite("tests.checks", "tests.backends")

import xpconv  # noqa: E402
from tests import backends, memory, sizes, standin  # noqa: E402 - the assertions of the first are rewritten

hypothesis.settings.register_profile(
    "xpconv",
    deadline=None,
    derandomize=True,  # the same geometries on every machine and every day
    database=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("xpconv")

# what a test may need: names for people, what to install
OPTIONAL: dict[str, tuple[dict[str, str], str]] = {
    "test": (
        {"matplotlib": "Matplotlib", "sklearn": "scikit-learn", "safetensors": "safetensors", "ml_dtypes": "bfloat16"},
        '"xpconv[test]"',
    ),
    "backends": ({"torch": "PyTorch", "jax": "JAX", "dask": "Dask"}, '"xpconv[backends]"'),
    "fast": ({"numba": "Numba"}, '"xpconv[fast]"'),
    "clusters": ({"distributed": "Dask's clusters", "zarr": "Zarr"}, '"xpconv[dask]" zarr'),
    "sycl": ({"dpnp": "dpnp"}, '"xpconv[sycl]"'),
    "nvrtc": ({"nvrtc": "CUDA's compiler"}, "nvidia-cuda-nvrtc"),
    "onnx": ({"onnx": "ONNX"}, '"xpconv[onnx]"'),
    "docs": ({"faker": "Faker", "IPython": "IPython"}, '"xpconv[docs]"'),
    "peers": (
        {
            "onnxruntime": "ONNX Runtime",
            "skimage": "scikit-image",
            "sigpy": "SigPy",
            "keras": "Keras",
            "tensorflow": "TensorFlow",
        },
        "onnxruntime scikit-image sigpy keras tensorflow",
    ),
}
# fixtures that are a library
FIXTURES = {
    "torch": ("torch",),
    "jax": ("jax",),
    "onnx": ("onnx", "onnxruntime"),
    "cp": ("cupy",),
    "real": ("cupy itself",),
}
NORMAL = (
    "what the catalogue has beside each case once and each dtype, library, guise and kind of data in turn; larger: "
    "XPCONV_TEST_SIZE=ci (all) or nightly (more drawn cases)"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--backends`."""
    parser.addoption(
        "--backends",
        default=os.environ.get("XPCONV_TEST_BACKENDS", backends.ALWAYS),
        help="libraries that must be there, separated by commas; the run fails if one is missing "
        f"(default: the variable XPCONV_TEST_BACKENDS, or {backends.ALWAYS}). The others run where they are installed",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Put the stand-in in CuPy's place where there is no GPU; fail the run if what was asked for is not there."""
    standin.install()
    if sizes.SIZE not in sizes.SIZES:
        raise pytest.UsageError(f"XPCONV_TEST_SIZE is one of {', '.join(sizes.SIZES)}; got {sizes.SIZE!r}")
    lines = backends.missing(config.getoption("--backends"))
    if lines:
        raise pytest.UsageError("a backend that was asked for is missing: " + "; ".join(lines))


def left_out() -> Iterator[str]:
    """Say in a line each what this run does not test, and how it would."""
    for packages, install in OPTIONAL.values():
        absent = [words for package, words in packages.items() if not backends.usable(package)]
        if absent:
            yield f"left out: {', '.join(absent)} (python -m pip install {install})"
    if standin.is_installed():
        yield 'left out: CuPy on a CUDA device (python -m pip install "xpconv[cuda13]")'
    if not sizes.FULL:
        yield f"left out: {NORMAL}"


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what was asked for and what is left out."""
    asked = config.getoption("--backends")
    asked = f"backends that must be there: {asked}, CuPy: {standin.describe()}"
    return [f"xpconv: size {sizes.SIZE}, {asked}", *left_out()]


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name CuPy's stand-in in the tests that run on it."""
    return backends.shown(val) if isinstance(val, str) and val == "cupy" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end what was left out."""
    for line in left_out():
        terminalreporter.write_line(line)


def words_of(item: pytest.Item) -> list[str]:
    """The parameters of a test that are words."""
    return [v for v in getattr(getattr(item, "callspec", None), "params", {}).values() if isinstance(v, str)]


def needs(item: pytest.Item) -> list[str]:
    """The libraries of a test's marks, fixtures and backends."""
    needed = [library for mark in item.iter_markers("needs") for library in mark.args]
    needed += [library for name in getattr(item, "fixturenames", ()) for library in FIXTURES.get(name, ())]
    return needed + [backends.BACKENDS[word] for word in words_of(item) if word in backends.BACKENDS]


def usable(item: pytest.Item) -> bool:
    """Whether the libraries that a test needs are here, and those of its backends have its dtypes."""
    words = words_of(item)
    lacks = frozenset().union(*(backends.LACKS.get(word, ()) for word in words))
    return all(map(backends.usable, needs(item))) and not lacks & set(words)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let only the tests that need CuPy see its stand-in: for all others it is missing, as it mostly is."""
    with contextlib.nullcontext() if "cupy" in needs(item) else standin.hidden():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the tests of libraries that are not here, of dtypes that a library has not, and what is slow."""
    items[:] = [i for i in items if usable(i) and (sizes.FULL or i.get_closest_marker("slow") is None)]


def pytest_collection_finish() -> None:
    """Let the garbage collector look past what is there for good: many tests collect, and each would go through it."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Let JAX forget what it has compiled before a process takes gigabytes."""
    try:
        return (yield)
    finally:
        if "jax" in needs(item) and memory.resident() > memory.allowed():
            memory.forget_compiled()


@pytest.fixture(scope="session", params=list(backends.BACKENDS))
def backend(request: pytest.FixtureRequest) -> backends.Backend:
    """Each backend in turn, of those whose library is here."""
    return backends.load(request.param)


@pytest.fixture
def ceiling(request: pytest.FixtureRequest) -> Iterator[int]:
    """Set a limit of the workspace in mebibytes, None for the default of 64, and the threads; give it in bytes."""
    mebibytes, threads = request.param
    with xpconv.set_options(max_workspace=mebibytes and mebibytes << 20, threads=threads):
        yield (mebibytes or 64) << 20


@pytest.fixture(scope="session")
def numpy_backend() -> backends.Backend:
    """NumPy, for tests of what only NumPy can show."""
    return backends.load("numpy")

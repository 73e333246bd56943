"""The backend fixture, the options of the run, and the size of the generated tests."""

import os

import hypothesis
import pytest

pytest.register_assert_rewrite("tests.checks", "tests.backends")

from tests import backends, standin  # noqa: E402 - the assertions of the first are rewritten
from xpconv._tools.libraries import LibraryError  # noqa: E402

SIZES = ("normal", "nightly")
SIZE = os.environ.get("XPCONV_TEST_SIZE", "normal")

hypothesis.settings.register_profile(
    "xpconv",
    deadline=None,
    derandomize=True,  # the same geometries on every machine and every day
    database=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("xpconv")


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
    if SIZE not in SIZES:
        raise pytest.UsageError(f"XPCONV_TEST_SIZE is one of {', '.join(SIZES)}; got {SIZE!r}")
    lines = backends.missing(config.getoption("--backends"))
    if lines:
        raise pytest.UsageError("a backend that was asked for is missing: " + "; ".join(lines))


def pytest_report_header(config: pytest.Config) -> str:
    """Say what was asked for, and what CuPy is."""
    asked = config.getoption("--backends")
    return f"xpconv: size {SIZE}, backends that must be there: {asked}, CuPy: {standin.describe()}"


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name CuPy's stand-in in the tests that run on it."""
    return backends.shown(val) if isinstance(val, str) and val == "cupy" else None


@pytest.fixture(scope="session", params=list(backends.BACKENDS))
def backend(request: pytest.FixtureRequest) -> backends.Backend:
    """Each backend in turn; those that are not installed are skipped, with the reason."""
    try:
        return backends.load(request.param)
    except LibraryError as error:
        return pytest.skip(str(error))


@pytest.fixture(scope="session")
def numpy_backend() -> backends.Backend:
    """NumPy, for tests of what only NumPy can show."""
    return backends.load("numpy")

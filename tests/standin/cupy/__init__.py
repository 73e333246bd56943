"""A stand-in for CuPy where there is no GPU: its names, signatures, dtypes and rules, with NumPy's numbers.

It is not CuPy and makes no run on a GPU superfluous; docs/device.md says what it proves and what it cannot.
"""

from . import _creation, _products, _reductions, _searches, _shapes, _table, _transforms, _ufuncs  # noqa: F401 - they register functions
from . import cuda as cuda
from ._arrays import ndarray as ndarray
from ._kernels import RawKernel as RawKernel
from ._memory import DEFAULT as _POOL
from ._table import acts as _acts
from ._ufuncs import ufunc as ufunc

__version__ = f"{_table.TABLE['version']}+standin"
standin = True  # which the real package has not


@_acts("cupy.get_default_memory_pool")
def _get_default_memory_pool() -> object:
    return _POOL


@_acts("cupy.is_available")
def _is_available() -> bool:
    return True


globals().update(_table.public("cupy", globals(), lambda name, *_: _ufuncs.named(name)))

from . import _core as _core  # noqa: E402 - the namespaces have names from above
from . import exceptions as exceptions  # noqa: E402
from . import fft as fft  # noqa: E402
from . import lib as lib  # noqa: E402
from . import linalg as linalg  # noqa: E402

AxisError, ComplexWarning = exceptions.AxisError, exceptions.ComplexWarning

"""cupy._core._routines_linalg: what matrix products are summed in."""

from .._products import COMPUTE_TYPES
from .._products import get_compute_type as get_compute_type
from .._products import set_compute_type as set_compute_type

globals().update(COMPUTE_TYPES)

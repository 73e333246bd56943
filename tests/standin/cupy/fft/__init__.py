"""cupy.fft"""

from .. import _table
from . import config as config

globals().update(_table.public("cupy.fft", globals()))

"""cupy.linalg"""

from numpy.linalg import LinAlgError as LinAlgError

from .. import _table

globals().update(_table.public("cupy.linalg", globals()))

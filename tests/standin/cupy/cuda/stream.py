"""cupy.cuda.stream"""

from .._streams import Event as Event
from .._streams import Stream as Stream
from .._streams import current_stream as get_current_stream
from .._streams import elapsed_time as get_elapsed_time

__all__ = ["Event", "Stream", "get_current_stream", "get_elapsed_time"]

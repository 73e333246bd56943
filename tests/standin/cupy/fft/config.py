"""cupy.fft.config: the cache of plans."""

from .._transforms import clear_plan_cache as clear_plan_cache
from .._transforms import get_plan_cache as get_plan_cache
from .._transforms import get_plan_cache_size as get_plan_cache_size
from .._transforms import set_plan_cache_size as set_plan_cache_size

"""cupy.cuda.memory"""

from .._memory import Memory as BaseMemory
from .._memory import Memory as Memory
from .._memory import MemoryPointer as MemoryPointer
from .._memory import MemoryPool as MemoryPool
from .._memory import OutOfMemoryError as OutOfMemoryError
from .._memory import alloc as alloc
from .._memory import get_allocator as get_allocator
from .._memory import set_allocator as set_allocator
from .._memory import using_allocator as using_allocator

__all__ = ["BaseMemory", "Memory", "MemoryPointer", "MemoryPool", "OutOfMemoryError"]

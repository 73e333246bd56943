"""The eight building blocks of the course "Convolutional Neural Networks: Step by Step", with its names and caches.

Arrays are channels last, windows are square. Each function stands on a general operation of this library, so it takes
arrays of any library; unlike the general operations these promote dtypes, as the course's NumPy does.
"""

from xpconv.course.convolution import conv_backward, conv_forward, conv_single_step, zero_pad
from xpconv.course.pooling import create_mask_from_window, distribute_value, pool_backward, pool_forward

__all__ = [
    "conv_backward",
    "conv_forward",
    "conv_single_step",
    "create_mask_from_window",
    "distribute_value",
    "pool_backward",
    "pool_forward",
    "zero_pad",
]

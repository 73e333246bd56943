"""What is planted: faults in the course's functions, in the general operations and in the engine beneath them."""

from xpconv.verify.faults import convolution, course_convolution, course_pooling, course_windows, pooling, results
from xpconv.verify.faults.fault import Fault

COURSE: tuple[Fault, ...] = (*course_convolution.FAULTS, *course_pooling.FAULTS, *course_windows.FAULTS)
LIBRARY: tuple[Fault, ...] = (*convolution.FAULTS, *pooling.FAULTS, *results.FAULTS)

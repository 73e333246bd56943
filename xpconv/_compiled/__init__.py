"""Plain loops over one tile, which Numba compiles where it is installed: without it they are slow Python, and right."""

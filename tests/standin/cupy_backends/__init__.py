"""Of CuPy's lower half, what programs use: products of matrices that are given by pointers."""

"""Arrays that are cut into chunks: one task of a graph for each block of a result."""

"""The driver: jobs, the pixels that a tile reads, where results go."""

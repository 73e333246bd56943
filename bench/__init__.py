"""Benchmarks of xpconv beside other libraries, in one process: ``python -m bench COMMAND`` from the repository root."""

"""Graphs that JAX makes: how large they are."""

from typing import Any


def counted(jaxpr: Any) -> int:
    """Count the equations of a graph and of the loops and calls within."""
    jaxpr, total = getattr(jaxpr, "jaxpr", jaxpr), 0
    for equation in jaxpr.eqns:
        total += 1
        for value in equation.params.values():
            for inner in value if isinstance(value, (list, tuple)) else [value]:
                if hasattr(getattr(inner, "jaxpr", inner), "eqns"):
                    total += counted(inner)
    return total

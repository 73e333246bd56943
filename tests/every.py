"""Cases of a millisecond as one test: what pytest does around a test takes longer than they do."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any


def every(names: str, cases: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test on each case, written as for `pytest.mark.parametrize`; the case that fails is named."""
    words, cases = names.replace(" ", "").split(","), list(cases)
    assert cases

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(**fixtures: Any) -> None:
            for case in cases:
                given = dict(zip(words, case if len(words) > 1 else (case,), strict=True))
                try:
                    test(**given, **fixtures)
                except BaseException as error:
                    error.add_note("with " + ", ".join(f"{word}={value!r}" for word, value in given.items()))
                    raise

        signature = inspect.signature(test)
        left = [parameter for name, parameter in signature.parameters.items() if name not in words]
        run.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        return run

    return decorate

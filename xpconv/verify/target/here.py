"""Judge functions where they are, in an open notebook: no process of their own, and no time limit."""

from __future__ import annotations

import contextlib
import inspect
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from xpconv.verify.target import page, report
from xpconv.verify.target.ask import FORWARD
from xpconv.verify.target.helpers import CALLED
from xpconv.verify.target.judge import Judge
from xpconv.verify.target.load import NAMES, Loaded, near_names
from xpconv.verify.target.run import Outcome
from xpconv.verify.target.verdict import Verdict


@dataclass(frozen=True)
class Judged:
    """What came of one function: prints, and shows as a table in Jupyter."""

    verdict: Verdict

    @property
    def name(self) -> str:
        """The function's name."""
        return self.verdict.name

    @property
    def status(self) -> str:
        """``right``, ``right in the course``, ``unfinished``, ``wrong`` or ``absent``."""
        return self.verdict.status

    @property
    def looks_like(self) -> tuple[str, ...]:
        """Known faults that give the same wrong results, the likeliest first."""
        return self.verdict.looks_like

    @property
    def message(self) -> str:
        """All that is to be said, in one line."""
        return self.verdict.text

    def __str__(self) -> str:
        """Say it in lines."""
        return "\n".join(report.lines(self.verdict))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        row = f'<tr><th scope="row">{page.breakable(self.name)}</th><td>{page.cell(self.verdict)}</td></tr>'
        return f'<style>{page.STYLE}</style><div class="xpconv-verify here"><table>{row}</table></div>'


@dataclass(frozen=True)
class JudgedAll:
    """What came of the course's functions: `functions` by name; prints, and shows as a table in Jupyter."""

    functions: dict[str, Judged]
    right: int
    of: int

    def __str__(self) -> str:
        """Say it in lines."""
        told = [str(one) for one in self.functions.values()]
        return "\n".join([*told, report.score(self._outcome)])

    __repr__ = __str__

    @property
    def _outcome(self) -> Outcome:
        return Outcome("here", 0, verdicts=tuple(one.verdict for one in self.functions.values()))

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th scope="row">{page.breakable(name)}</th><td>{page.cell(one.verdict)}</td></tr>'
            for name, one in self.functions.items()
        )
        score = f'<p class="faint">{report.score(self._outcome)}</p>'
        return f'<style>{page.STYLE}</style><div class="xpconv-verify here"><table>{rows}</table>{score}</div>'


@overload
def check(target: Callable[..., object], name: str | None = None, *, seed: int = 0) -> Judged: ...
@overload
def check(target: Mapping[str, object], name: str | None = None, *, seed: int = 0) -> JudgedAll: ...
def check(
    target: Callable[..., object] | Mapping[str, object], name: str | None = None, *, seed: int = 0
) -> Judged | JudgedAll:
    """Judge functions of the course, here and now.

    They are called in this process, twice on each input, with nothing that stops them; what they print is dropped.
    A function is judged with right helpers (`zero_pad`, `conv_single_step`, `create_mask_from_window`,
    `distribute_value`) in place of those beside it that are wrong.

    Parameters
    ----------
    target : callable or mapping
        One of the course's functions, or what holds them by name: ``globals()``.
    name : str, optional
        Which of the course's functions a callable is, if it has another name.
    seed : int
        Of the data.

    Returns
    -------
    Judged or JudgedAll
        For a function a record with `status`, `looks_like` and `message`; for a mapping one with `functions` (such
        records by name), `right` and `of`. Both print, and show as a table in Jupyter.

    Raises
    ------
    ValueError
        The function has none of the course's names.
    TypeError
        The target is neither.

    Examples
    --------
    >>> import numpy as np
    >>> from xpconv.verify import check
    >>> def create_mask_from_window(x):
    ...     return x == np.min(x)
    >>> check(create_mask_from_window).status
    'wrong'
    >>> check(create_mask_from_window).looks_like
    ('minimum (min for max)',)

    """
    if isinstance(target, Mapping):
        found: dict[str, Callable[..., Any]] = {one: given for one in NAMES if callable(given := target.get(one))}
        near = near_names(target, set(NAMES) - set(found))
        judged = _judge(Loaded(found, near=near), NAMES, seed)
        outcome = Outcome("here", seed, verdicts=tuple(judged.values()))
        return JudgedAll({one: Judged(verdict) for one, verdict in judged.items()}, outcome.right, outcome.of)
    if not callable(target):
        raise TypeError(f"check: wants a function or globals(); got {type(target).__name__}")
    called = str(name or getattr(target, "__name__", ""))
    if called not in NAMES:
        near = near_names({called: target}, set(NAMES))
        hint = f"; did you mean {next(iter(near))}?" if near else ""
        raise ValueError(f"check: {called!r} is none of the course's functions, {', '.join(NAMES)}{hint}")
    beside = getattr(inspect.unwrap(target), "__globals__", {})
    needed = [*CALLED.get(called, ()), *([FORWARD[called]] if called in FORWARD else [])]
    needed += [one for forward in needed for one in CALLED.get(forward, ())]
    functions = {one: beside[one] for one in NAMES if one in needed and callable(beside.get(one))}
    order = [one for one in NAMES if one in functions and one != called]
    return Judged(_judge(Loaded({**functions, called: target}), [*order, called], seed)[called])


def _judge(loaded: Loaded, names: Iterable[str], seed: int) -> dict[str, Verdict]:
    judge = Judge(loaded, seed)
    state = np.random.get_state()  # noqa: NPY002  functions may seed the generator that the notebook uses
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return {name: judge.verdict(name, lambda text: None) for name in names}
    finally:
        np.random.set_state(state)  # noqa: NPY002

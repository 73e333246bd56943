"""Every planted mistake is found, by the error or in the list that it names, and no right program is taken for one."""

from typing import Any

import pytest

from tests import standin
from tests.standin.planted import MISTAKES, RIGHT, Raises

# what a watch can forbid; a note is none of its events
COUNTED = [name for name, (_, found) in MISTAKES.items() if not isinstance(found, Raises) and found.where != "notes"]


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_found(cp: Any, xp: Any, name: str) -> None:
    program, found = MISTAKES[name]
    with standin.watch() as seen:
        if isinstance(found, Raises):
            with pytest.raises(Exception, match=found.match) as caught:
                program(cp, xp)
            assert type(caught.value).__name__ == found.error
            return
        program(cp, xp)
    records = getattr(seen, found.where)
    assert any(found.what in (getattr(one, "what", ""), getattr(one, "kind", ""), "") for one in records), seen


@pytest.mark.parametrize("name", COUNTED)
def test_what_is_only_counted_can_be_forbidden(cp: Any, xp: Any, name: str) -> None:
    program, found = MISTAKES[name]
    from cupy._watch import ForbiddenError

    with standin.watch(forbid=[found.where]), pytest.raises(ForbiddenError, match="planted"):
        program(cp, xp)


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_program_passes(cp: Any, xp: Any, name: str) -> None:
    with standin.watch(forbid=["waits"]) as seen:
        RIGHT[name](cp, xp)
    assert not seen.mistakes
    assert not seen.notes


def test_there_are_enough_of_both() -> None:
    assert len(MISTAKES) >= 50
    assert len(RIGHT) >= 10

"""Cases in a loop fail as cases apart do, and the one that fails is named."""

import pytest

from tests.every import every

SEEN: list[tuple[int, str]] = []


@every("number, word", [(1, "one"), (2, "two")])
def test_each_case_is_run_with_the_fixtures(number: int, word: str, tmp_path: object) -> None:
    assert tmp_path
    seen, SEEN[:] = [*SEEN, (number, word)], [*SEEN, (number, word)]
    assert seen == [(1, "one"), (2, "two")][:number]


def test_the_case_that_fails_is_named() -> None:
    @every("number", [1, 2, 3])
    def small(number: int) -> None:
        assert number < 2

    with pytest.raises(AssertionError) as caught:
        small()
    assert caught.value.__notes__ == ["with number=2"]


def test_no_case_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        every("number", [])(lambda number: None)

"""Sentences say what differs, and keep the reason."""

from __future__ import annotations

import pytest

from datagen.core.wording import LONGEST_REASON, differences, one_line


@pytest.mark.parametrize(
    ("found", "expected", "said"),
    [
        ("ab", "ab", ""),
        ("ab", "abc", "lacks c"),
        ("abcd", "ab", "has c, d beside"),
        ("ax", "ab", "lacks b and has x beside"),
        ("bac", "abc", "has the same in another order: number 0 is b, where a is expected"),
        ("abcdefgh", "a", "has b, c, d, e, f and 2 more beside"),
    ],
)
def test_differences_are_named(found: str, expected: str, said: str) -> None:
    assert differences(list(found), list(expected)) == said


def test_the_reason_of_an_error_is_kept_wherever_it_stands() -> None:
    error = RuntimeError("Error(s) in loading state_dict for UNet:\n\tsize mismatch for conv: [2] in place of [4].\n")
    assert one_line(error) == "Error(s) in loading state_dict for UNet: size mismatch for conv: [2] in place of [4]."
    assert one_line(ValueError()) == "ValueError"
    assert len(one_line(ValueError("word " * 999))) < LONGEST_REASON + 10

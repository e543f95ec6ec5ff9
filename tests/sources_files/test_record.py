"""The token of a folder of files: exactly what was listed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailarchive.errors import CheckpointInvalid
from mailarchive.sources._files_record import Record, word

keys = st.lists(st.tuples(st.text(), st.none() | st.text()), unique=True, max_size=30)


@given(keys, keys)
def test_a_token_knows_what_was_listed_and_nothing_else(
    listed: list[tuple[str, str | None]], others: list[tuple[str, str | None]]
) -> None:
    """A state of a file is in the record that a token is read as iff it was added."""
    record = Record()
    record.add(word(*each) for each in listed)

    again = Record.parse(record.token())

    for each in listed + others:
        known = any((key, rev or "") == (each[0], each[1] or "") for key, rev in listed)
        assert known == (word(*each) in again)


@given(keys)
def test_a_token_costs_sixteen_characters_a_file(listed: list[tuple[str, str | None]]) -> None:
    """The size of a token is known from the number of files."""
    record = Record()
    words = {word(*each) for each in listed}
    record.add(words)

    assert len("listed/1 ") + 16 * len(words) == len(record.token())


def test_what_is_taken_back_is_not_listed() -> None:
    """Forgetting takes exactly those words away, and an unknown one does no harm."""
    record = Record([word("a"), word("b")])

    record.forget([word("a"), word("never")])

    assert word("a") not in record
    assert word("b") in record


@pytest.mark.parametrize(
    "token",
    ["", "mbox/1 0 0 0123456789abcdef", "listed/1 short", "listed/2 ", "listed/1 " + "é" * 16],
)
def test_a_token_of_another_kind_is_refused(token: str) -> None:
    """Whatever is no token of ours means listing anew, never a crash."""
    with pytest.raises(CheckpointInvalid):
        Record.parse(token)

"""Normal forms are Unicode's own, and take no longer for a text that was made to take long."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from mailarchive import Address
from mailarchive._model import normalized

MARKS = "a" + "\u0315" * 40_000 + "\u0300" * 40_000


@given(st.text(max_size=200))
def test_an_ordinary_text_has_the_form_that_unicode_says(text: str) -> None:
    """Only where a letter has more than thirty marks is there any difference."""
    assert normalized("NFC", text) == unicodedata.normalize("NFC", text)
    assert normalized("NFKC", text) == unicodedata.normalize("NFKC", text)


def test_no_run_of_marks_is_longer_than_a_reader_can_bear() -> None:
    """Putting so many in order at a time would take minutes; in runs of thirty it is nothing."""
    found = normalized("NFC", MARKS)

    assert max(map(len, found.split("\u034f"))) <= 32
    assert Address(f"{MARKS}@example.com") == Address(f"{MARKS}@EXAMPLE.com")

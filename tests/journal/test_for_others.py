"""What somebody else's project gets: public names only, in a test suite of its own."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mailarchive import journal
from mailarchive.errors import MalformedReport
from mailarchive.journal import JournalReport
from mailarchive.testing import reports

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

THEIRS = '''
from hypothesis import given, settings
from hypothesis import strategies as st

from mailarchive import journal
from mailarchive.errors import MailArchiveError, MalformedReport
from mailarchive.testing import messages, reports, strategies


def who_got_it(raw):
    """Our own program: the addresses of everybody who received the message."""
    return sorted(str(line.address) for line in journal.decode(raw).recipients)


@settings(max_examples=5)
@given(strategies.report_cases())
def test_we_show_everybody(case):
    assert who_got_it(case.raw) == sorted(str(each.address) for each in case.recipients)


@settings(max_examples=5)
@given(strategies.defect_cases())
def test_we_keep_going(case):
    try:
        assert case.code in journal.decode(case.raw).defect_codes
    except MalformedReport as error:
        assert case.code in error.partial.defect_codes


@settings(max_examples=5)
@given(strategies.damaged(strategies.report_cases().map(lambda case: case.raw)))
def test_we_never_break(raw):
    try:
        who_got_it(raw)
    except MailArchiveError as error:
        assert error.code


@settings(max_examples=5)
@given(strategies.originals(), st.lists(strategies.recipients(), min_size=1, max_size=3))
def test_we_build_our_own(original, people):
    raw = reports.report(original, recipients=people)
    assert bytes(journal.decode(raw).view()) == original
    assert messages.bounce(raw) != raw
'''


def test_the_strategies_work_in_another_project(tmp_path: Path) -> None:
    """In a folder that knows nothing of this one, with pytest and Hypothesis as they come."""
    (tmp_path / "test_theirs.py").write_text(THEIRS, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_theirs.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert "4 passed" in done.stdout, done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("code", ["envelope_missing", "original_missing", "too_many_originals"])
def test_a_malformed_report_carries_what_could_be_read_to_another_process(code: str) -> None:
    """The error is pickled whole: its partial report is what it was."""
    with pytest.raises(MalformedReport) as caught:
        journal.decode(reports.report(defects=[code]))
    again = pickle.loads(pickle.dumps(caught.value))

    assert isinstance(again.partial, JournalReport)
    assert again.partial == caught.value.partial
    assert (str(again), again.suggestions) == (str(caught.value), caught.value.suggestions)
    assert again.partial.defect_codes == (code,)
    assert "@" not in repr(again) + repr(again.partial)


def test_every_public_name_is_said_to_be_public() -> None:
    """`__all__` names what the reference names, and each of it has a docstring."""
    for name in journal.__all__:
        assert getattr(journal, name).__doc__, name

"""The builders of reports, which other test suites use: every dialect and every defect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailarchive.journal import DefectCode, Disposition, JournalReport, Kind
from mailarchive.testing import messages, reports
from mailarchive.testing.reports import Dialect

if TYPE_CHECKING:
    from collections.abc import Callable

    Look = Callable[[bytes], JournalReport | None]

FATAL = {"envelope_missing", "original_missing", "too_many_originals"}


@pytest.mark.parametrize(
    ("dialect", "code"),
    [(dialect, code) for dialect in Dialect for code in sorted(reports.defects_of(dialect))],
)
def test_each_defect_that_is_put_in_is_found(
    dialect: Dialect, code: DefectCode, look: Look
) -> None:
    """And it alone; the disposition follows from it."""
    report = look(reports.report(dialect=dialect, defects=[code]))

    assert report is not None
    assert report.defect_codes == (code,)
    fatal = Disposition.QUARANTINE if code in FATAL else Disposition.DEGRADED
    assert report.disposition is fatal


@pytest.mark.parametrize("dialect", list(Dialect))
def test_every_dialect_is_read_without_defect(dialect: Dialect, look: Look) -> None:
    """With roles, history, an address of another system, and a principal."""
    people = [
        reports.recipient("bob@example.com", expanded="dl@example.com", forwarded="x@example.com"),
        reports.recipient("carol@example.com", "bcc"),
        reports.recipient("EX:/o=C/ou=First Group/cn=old", "recipient"),
    ]
    raw = reports.report(
        sender="a@example.com", on_behalf_of="b@example.com", subject="Grüße", recipients=people,
        dialect=dialect,
    )  # fmt: skip
    report = look(raw)

    assert report is not None
    assert not report.defects
    kind = Kind.EXCHANGE_2003 if dialect.is_2003 else Kind.EXCHANGE_2007
    assert report.kind is (Kind.WORKMAIL if dialect is Dialect.WORKMAIL else kind)
    assert {line.address for line in report.recipients} == {each.address for each in people}


def test_every_defect_and_every_kind_can_be_built(look: Look) -> None:
    """The closed enumerations are covered: nothing is read that nothing can build."""
    built = [reports.defects_of(dialect) for dialect in Dialect]
    kinds = [look(reports.report(dialect=dialect)) for dialect in Dialect]
    bounced = look(messages.bounce(reports.report()))

    assert frozenset().union(*built) == set(DefectCode)
    assert {each.kind for each in (*kinds, bounced) if each is not None} == set(Kind)


@pytest.mark.parametrize(
    ("dialect", "code"),
    [(dialect, code) for dialect in Dialect for code in DefectCode],
)
def test_a_dialect_that_cannot_have_a_defect_says_so(dialect: Dialect, code: DefectCode) -> None:
    """Rather than build something else."""
    if code in reports.defects_of(dialect):
        assert reports.report(dialect=dialect, defects=[code]) != reports.report(dialect=dialect)
    else:
        with pytest.raises(ValueError, match=str(dialect)):
            reports.report(dialect=dialect, defects=[code])


def test_the_same_arguments_give_the_same_bytes() -> None:
    """There is no clock and no chance in the builders."""
    assert reports.report() == reports.report()
    assert messages.message(subject="a") == messages.message(subject="a")
    assert messages.message(subject="a") != messages.message(subject="b")


def test_a_report_says_what_its_original_says(look: Look) -> None:
    """What is not given is taken from the original's header."""
    original = messages.message(sender="x@y.example", subject="Ünï", message_id="<9@y.example>")
    report = look(reports.report(original))

    assert report is not None
    assert report.text.sender == "x@y.example"
    assert report.subject == "Ünï"
    assert report.message_id == "<9@y.example>"
    assert not report.defects


def test_a_report_of_a_message_that_says_nothing_has_placeholders(look: Look) -> None:
    """As the transport writer writes them."""
    report = look(reports.report(b"X: y\r\n\r\n"))

    assert report is not None
    assert report.defect_codes == (DefectCode.SENDER_MISSING, DefectCode.MESSAGE_ID_MISSING)


def test_a_fork_is_the_same_message_to_other_people(look: Look) -> None:
    """Two reports of one original differ in their recipients only."""
    original = messages.message()
    one, two = (look(reports.report(original, recipients=[who])) for who in ("a@x.y", "b@x.y"))

    assert one is not None
    assert two is not None
    assert one.view() == two.view()
    assert one.recipients != two.recipients

"""What else a report says, and what cannot be said of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mailarchive import journal
from mailarchive._model import AddressKind, Role
from mailarchive.journal import LegacyAddress
from mailarchive.testing import messages, reports


@pytest.mark.parametrize("defects", [(), ("rfc822_cte",)])
def test_the_headers_say_more_when_asked(defects: tuple[str, ...]) -> None:
    """Report and original, each under a name that says where it comes from."""
    original = messages.message(
        sender="s@x.example",
        on_behalf_of="f@x.example",
        message_id="<1@x>",
        headers=[("Return-Path", "<p1@x.example>")],
    )
    said = journal.particulars(journal.decode(reports.report(original, defects=defects)))

    assert said.report_id is not None
    assert said.report_id.endswith("@journal.report.generator>")
    assert said.parent_id == "<1@x>"
    assert said.report_date == "Mon, 5 May 2025 08:00:00 +0000"
    assert str(said.return_path) == "p1@x.example"
    assert str(said.sender_in_original) == "s@x.example"
    assert said.message_id_in_original == "<1@x>"
    assert "@" not in repr(said)


def test_an_opaque_original_says_nothing() -> None:
    """A `.msg` file has no header to read."""
    said = journal.particulars(journal.decode(reports.report(defects=["original_is_msg"])))

    assert said.sender_in_original is None
    assert said.message_id_in_original is None


def test_a_role_is_suggested_by_the_originals_header() -> None:
    """Only where the report has no verified role; a blind copy has no suggestion."""
    original = messages.message(to=["Bob <BOB@x.example>"], cc=["carol@x.example"])
    people = [
        reports.recipient("bob@x.example", "recipient"),
        reports.recipient("carol@x.example", "recipient"),
        reports.recipient("dan@x.example", "recipient"),
        reports.recipient("bob@x.example", "bcc"),
    ]
    report = journal.decode(reports.report(original, recipients=people))
    by_address = {
        (line.written, line.role): role
        for line, role in zip(report.recipients, journal.suggested_roles(report), strict=True)
    }

    assert by_address == {
        ("bob@x.example", Role.RECIPIENT): Role.TO,
        ("carol@x.example", Role.RECIPIENT): Role.CC,
        ("dan@x.example", Role.RECIPIENT): None,
        ("bob@x.example", Role.BCC): None,
    }


MOMENT = datetime(2025, 5, 14, 8, 0, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "5/14/2025 8:00:02 AM",
        "14/5/2025 08:00:02",
        "14.05.2025 08:00:02",
        "14. 5. 2025 8:00:02",
        "2025-05-14 08:00:02",
        "2025-05-14T08:00:02Z",
        "2025/5/14 8:00:02",
        "14-05-2025 08.00.02",
        "14.05.2025. 8:00:02",
    ],
)
def test_a_time_with_one_reading_is_read(text: str) -> None:
    """Year first, dots, or a day that can be no month."""
    assert journal.moment(text) == MOMENT


@pytest.mark.parametrize(
    ("text", "hour"),
    [("5/5/2025 12:00:00 AM", 0), ("5/5/2025 12:00:00 PM", 12), ("05/05/2025 1:00 PM", 13)],
)
def test_noon_and_midnight_are_told_apart(text: str, hour: int) -> None:
    """And day and month may be equal."""
    assert journal.moment(text) == datetime(2025, 5, 5, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "5/6/2025 8:00:00 AM",
        "",
        "x",
        "31.02.2025 08:00:00",
        "2025/5/5 上午 8:00",
        "5/5/2025",
        "1" * 5_000,
    ],
)
def test_any_other_time_stays_text(text: str) -> None:
    """Two readings, none, and times of other calendars and scripts."""
    assert journal.moment(text) is None


@pytest.mark.parametrize(
    ("written", "kind", "value"),
    [
        (
            "IMCEAEX-_o=Contoso_ou=First+20Administrative+20Group_cn=Recipients_cn=old@x.example",
            "EX",
            "/o=Contoso/ou=First Administrative Group/cn=Recipients/cn=old",
        ),
        ("imceaex-_o=C_cn=a+2Eb+5Fc@x.example", "EX", "/o=C/cn=a.b_c"),
        ("IMCEAX400-c=us+3Ba=+20+3Bp=C+3B@x.example", "X400", "c=us;a= ;p=C;"),
        ("IMCEAFAX-Doe+40+2B43+201@x.example", "FAX", "Doe@+43 1"),
        ("IMCEAEX-_o=C_cn=J+C3+BCrgen@x.example", "EX", "/o=C/cn=Jürgen"),
        ("IMCEAEX-_o=C_cn=J+FCrgen@x.example", "EX", "/o=C/cn=Jürgen"),
        ("EX:/o=C/cn=old", "EX", "/o=C/cn=old"),
        ("x400:c=us;a= ;", "X400", "c=us;a= ;"),
        ("/o=C/cn=old", "EX", "/o=C/cn=old"),
    ],
)
def test_a_legacy_address_has_its_decoded_form_beside_it(
    written: str, kind: str, value: str
) -> None:
    """The address stays as it was written; what it stands for is offered."""
    line = journal.RecipientLine(written, Role.TO, (), 1)

    assert line.legacy == LegacyAddress(kind, value)
    assert line.address.spec == written
    assert "old" not in repr(line.legacy)


@pytest.mark.parametrize(
    "written", ["bob@x.example", "IMCEAEX@x.example", "imcea-x@x.example", "Bob"]
)
def test_an_ordinary_address_has_none(written: str) -> None:
    """Nothing else is decoded."""
    assert journal.RecipientLine(written, Role.TO, (), 1).legacy is None


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("bob@x.example", AddressKind.SMTP),
        ("EX:/o=C/cn=a@b", AddressKind.X500),
        ("/o=C/cn=a", AddressKind.X500),
        ("X400:c=us;s=a@b", AddressKind.OTHER),
        ("FAX:Doe@+43 1", AddressKind.OTHER),
        ("Bob", AddressKind.OTHER),
    ],
)
def test_an_address_of_another_system_is_no_smtp_address(written: str, kind: AddressKind) -> None:
    """Whatever stands in it, it never equals the address of a user."""
    assert journal.RecipientLine(written, Role.TO, (), 1).address.kind is kind

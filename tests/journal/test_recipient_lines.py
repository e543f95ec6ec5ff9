"""Recipient lines as facts: address, role, history and line, and never one less."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mailarchive._model import Role
from mailarchive.testing import messages, reports

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailarchive.journal import JournalReport

    Look = Callable[[bytes], JournalReport | None]

ID = "<1@example.com>"
USUAL = (
    "Sender: alice@example.com",
    "Subject: Numbers",
    f"Message-Id: {ID}",
    "To: bob@example.com",
)
ORIGINAL = messages.message(message_id=ID)


def codes(report: JournalReport | None) -> set[str]:
    """Return the codes of a report's defects."""
    assert report is not None
    return {str(code) for code in report.defect_codes}


def with_text(text: bytes | str, kind: str = "text/plain; charset=utf-8", **about: Any) -> bytes:
    """Return a report with this envelope text."""
    about.setdefault("original", ORIGINAL)
    return reports.with_text(text, content_type=kind, **about)


def lines(*texts: str, **about: Any) -> bytes:
    """Return a report with these lines for its envelope text."""
    return with_text("\r\n".join(texts) + "\r\n", **about)


def addresses(report: JournalReport | None) -> list[str]:
    """Return the addresses of the recipients, as they were written."""
    assert report is not None
    return [line.written for line in report.recipients]


LINES = [
    ("a@x.example", "a@x.example", ""),
    ("a@x.example, Expanded: dl@x.example", "a@x.example < expanded dl@x.example", ""),
    ("a@x.example,Forwarded:b@x.example", "a@x.example < forwarded b@x.example", ""),
    ("a@x.example , EXPANDED : dl@x.example", "a@x.example < expanded dl@x.example", ""),
    (
        "a@x.example, Forwarded: b@x.example, Expanded: c@x.example, Expanded: d@x.example",
        "a@x.example < forwarded b@x.example < expanded c@x.example < expanded d@x.example",
        "",
    ),
    (
        "a@x.example, Redirected: b@x.example, Expanded: c@x.example",
        "a@x.example < Redirected b@x.example < expanded c@x.example",
        "unknown_history",
    ),
    ("a@x.example, Sent by: b@x.example", "a@x.example < Sent by b@x.example", "unknown_history"),
    ("a@x.example, Envoyé: b@x.example", "a@x.example < Envoyé b@x.example", "unknown_history"),
    ('"a b"@x.example', '"a b"@x.example', ""),
    ('"a, Expanded: b"@x.example', '"a, Expanded: b"@x.example', ""),
    (
        '"a \\"q\\" b"@x.example, Expanded: "d, l"@x.example',
        '"a \\"q\\" b"@x.example < expanded "d, l"@x.example',
        "",
    ),
    ("a@[192.0.2.1]", "a@[192.0.2.1]", ""),
    ("a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]", ""),
    ("josé@пример.example", "josé@пример.example", ""),
    ("o'neil+tag/x=y{z}|~@x.example", "o'neil+tag/x=y{z}|~@x.example", ""),
    ("SMTP:a@x.example", "a@x.example", "address_prefix"),
    (
        "smtp:a@x.example, Expanded: SMTP:b@x.example",
        "a@x.example < expanded b@x.example",
        "address_prefix",
    ),
    ("mailto:a@x.example", "a@x.example", "address_prefix"),
    ("<a@x.example>", "a@x.example", "address_form"),
    ("Some One <a@x.example>", "a@x.example", "address_form"),
    (
        '"One, Some" <a@x.example>, Expanded: <b@x.example>',
        "a@x.example < expanded b@x.example",
        "address_form",
    ),
    ("One, Some <a@x.example>", "a@x.example", "address_form"),
    ('"victim@x.example" <a@x.example>', "a@x.example", "address_form"),
    ('"Name <victim@x.example>" <a@x.example>', "a@x.example", "address_form"),
    ("(victim@x.example) a@x.example", "a@x.example", "address_form"),
    ('"N" <SMTP:a@x.example>', "a@x.example", "address_form address_prefix"),
    ("a@x.example;", "a@x.example", "address_form"),
    ("Some One", "Some One", "address_form"),
    ("EX:/o=C/ou=First Group/cn=a", "EX:/o=C/ou=First Group/cn=a", ""),
    ("/o=C/ou=First Group/cn=a", "/o=C/ou=First Group/cn=a", ""),
    ("X400:c=us;a= ;p=C;o=Ex;s=Doe;g=J;", "X400:c=us;a= ;p=C;o=Ex;s=Doe;g=J;", ""),
    (
        "IMCEAEX-_o=C_ou=First+20Group_cn=a+40b@x.example, Expanded: dl@x.example",
        "IMCEAEX-_o=C_ou=First+20Group_cn=a+40b@x.example < expanded dl@x.example",
        "",
    ),
]


@pytest.mark.parametrize(("line", "said", "departures"), LINES)
def test_a_recipient_line_says_address_and_history(
    line: str, said: str, departures: str, look: Look
) -> None:
    """The address as it was written, its redirections in order, and what departs."""
    report = look(lines(*USUAL[:3], f"To: {line}"))

    assert codes(report) == set(departures.split())
    assert report is not None
    (recipient,) = report.recipients
    history = [f"{step.word} {step.written}" for step in recipient.history]
    assert [recipient.written, *history] == said.split(" < ")
    assert [str(each.address) for each in recipient.recipient.history] == [
        step.written for step in recipient.history
    ]


@pytest.mark.parametrize("between", [" ", ", ", "; "])
def test_two_addresses_on_one_line_are_two_recipients(between: str, look: Look) -> None:
    """The grammar has one a line; none may be lost."""
    report = look(
        lines(*USUAL[:3], f"To: a@x.example{between}b@x.example, Expanded: dl@x.example")
    )

    assert codes(report) == {"address_form"}
    assert addresses(report) == ["a@x.example", "b@x.example"]
    assert report is not None
    assert {line.line for line in report.recipients} == {4}


@pytest.mark.parametrize("between", [" ", ", ", "; "])
def test_two_addresses_behind_a_word_are_two_steps(between: str, look: Look) -> None:
    """Whether the second is a list or a recipient nobody knows: it is kept and owns nothing."""
    line = f"To: a@x.example, Expanded: dl@x.example{between}b@x.example"
    report = look(lines(*USUAL[:3], line))

    assert codes(report) == {"address_form"}
    assert addresses(report) == ["a@x.example"]
    assert report is not None
    assert [step.written for step in report.recipients[0].history] == [
        "dl@x.example",
        "b@x.example",
    ]


def test_every_recipient_line_is_kept(look: Look) -> None:
    """The same address in several roles, or several times in one, is as many facts."""
    texts = ["To: a@x.example", "Cc: a@x.example", "To: a@x.example", "Bcc: A@X.EXAMPLE"]
    texts += ["Recipient: a@x.example, Expanded: dl@x.example"]
    report = look(lines(*USUAL[:3], *texts))

    assert codes(report) == set()
    assert report is not None
    roles = [Role.TO, Role.CC, Role.TO, Role.BCC, Role.RECIPIENT]
    assert [line.role for line in report.recipients] == roles
    assert [line.line for line in report.recipients] == [4, 5, 6, 7, 8]
    assert len({line.address for line in report.recipients}) == 1


def test_a_principal_is_no_recipient(look: Look) -> None:
    """On-Behalf-Of names who the message is from."""
    report = look(lines(USUAL[0], "On-Behalf-Of: boss@example.com", *USUAL[1:]))

    assert codes(report) == set()
    assert report is not None
    assert report.on_behalf_of is not None
    assert report.on_behalf_of.spec == "boss@example.com"
    assert addresses(report) == ["bob@example.com"]

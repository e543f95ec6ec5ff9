"""Journal reports in a run: evidence kept whole, messages shown, the rest held or listed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailarchive.archiver import Removal
from mailarchive.decoding import NO_REPORT, JournalMailbox, Otherwise
from mailarchive.errors import MalformedReport
from mailarchive.journal import DefectCode, Disposition, JournalReport, Limits
from mailarchive.journal.trust import Action, Policy
from mailarchive.testing import messages, reports
from mailarchive.testing.reports import Dialect

if TYPE_CHECKING:
    from support.world import World

ORIGINAL = messages.message(sender="alice@corp.example", to=["bob@corp.example"])
FATAL = ("envelope_missing", "original_missing", "too_many_originals")


def report(*, original: bytes = ORIGINAL, **about: object) -> bytes:
    """Return a report of the message to Bob, and to Carol without his knowledge."""
    people = [
        reports.recipient("bob@corp.example"),
        reports.recipient("carol@corp.example", "bcc"),
    ]
    return reports.report(original, recipients=people, **about)  # type: ignore[arg-type]  # any of them


@pytest.mark.parametrize("dialect", list(Dialect))
def test_the_report_is_the_record_and_the_message_is_what_is_shown(
    world: World, dialect: Dialect
) -> None:
    """Byte for byte both, and whoever the report names sees the message."""
    raw = report(dialect=dialect)
    world.source.add(raw)
    done = world.run(decoder=JournalMailbox())

    (entry,) = world.sink.entries.values()
    assert entry.raw == raw
    assert entry.provenance.is_report
    for user in ("alice", "bob", "carol"):
        assert world.sink.of(user) == [ORIGINAL]
    assert (done.stored, done.quarantined, done.unexpected) == (1, 0, 0)


@pytest.mark.parametrize("code", list(DefectCode))
def test_every_defect_is_archived_with_its_name_or_held(world: World, code: DefectCode) -> None:
    """What a report must not be used for is kept whole; nothing else is held."""
    raw = report(defects=[code])
    world.source.add(raw)
    done = world.run(decoder=JournalMailbox(), removal=Removal.when_archived())

    if code in FATAL:
        ((message, reason),) = world.quarantine.held.values()
        assert message.raw == raw
        assert str(code) in reason
        assert world.source.contents() == [raw]
        assert done.quarantined == 1
    else:
        (entry,) = world.sink.entries.values()
        assert entry.raw == raw
        assert str(code) in entry.provenance.defects
        assert done.quarantined == 0


def test_what_crosses_a_limit_is_held(world: World) -> None:
    """Whole, with the limit for a reason."""
    world.source.add(report())
    done = world.run(decoder=JournalMailbox(limits=Limits(recipients=1)))

    assert done.quarantined == 1
    assert "limit" in next(iter(world.quarantine.held.values()))[1]


@pytest.mark.parametrize("code", ["too_many_originals", "original_missing", "envelope_missing"])
@pytest.mark.parametrize("limits", [Limits(), Limits(recipients=1)])
def test_what_resembles_a_report_is_shown_to_nobody(
    world: World, code: str, limits: Limits
) -> None:
    """A report that lost its marker and is damaged names blind copies to whom its header has."""
    raw = report(defects=["marker_missing", code])
    world.source.add(raw)
    world.source.add(report(defects=["marker_missing"]))
    done = world.run(decoder=JournalMailbox(limits=limits), removal=Removal.when_archived())

    held = [message.raw for message, _ in world.quarantine.held.values()]
    assert raw in held
    assert raw in world.source.contents()
    assert (done.quarantined, done.stored) == ((1, 1) if limits == Limits() else (2, 0))


def test_a_report_that_lost_all_but_its_id_is_shown_to_nobody(world: World) -> None:
    """Whoever strips what it does not know leaves the Message-ID, which nobody else writes."""
    raw = report(defects=["marker_missing"])
    raw = raw.replace(b"Sender: <Micro", b"X-Sender: <Micro").replace(b"Journal Agent", b"-")
    world.source.add(raw)
    done = world.run(decoder=JournalMailbox())

    assert (done.quarantined, done.stored) == (1, 0)
    ((message, reason),) = world.quarantine.held.values()
    assert message.raw == raw
    assert "resembles" in reason


@pytest.mark.parametrize("otherwise", list(Otherwise))
def test_what_is_no_report_is_listed_and_stays(world: World, otherwise: Otherwise) -> None:
    """Archived or held as was chosen; in the run's report either way, and never removed."""
    ordinary = [ORIGINAL, messages.forward(report()), messages.bounce(ORIGINAL)]
    for raw in [*ordinary, report()]:
        world.source.add(raw)
    done = world.run(decoder=JournalMailbox(otherwise), removal=Removal.when_archived())

    assert done.unexpected == len(done.unexpected_refs) == 3
    assert world.source.contents() == ordinary
    held = 3 if otherwise is Otherwise.QUARANTINE else 0
    assert (done.quarantined, done.stored, done.removed) == (held, 4 - held, 1)
    if not held:
        assert JournalMailbox()(ORIGINAL).unexpected == NO_REPORT


@pytest.mark.parametrize(
    ("policy", "held"),
    [
        (None, False),
        (Policy(), False),
        (Policy(tenants={"corp.example"}), True),
        (Policy(tenants={"corp.example"}, on_mismatch=Action.ACCEPT), False),
        (Policy(on_unproven=Action.QUARANTINE), True),
        (Policy(on_unproven=Action.QUARANTINE, trusted_channel=True), False),
    ],
)
def test_a_report_that_is_not_believed_is_held(
    world: World, policy: Policy | None, held: bool
) -> None:
    """The policy decides, apart from reading; nothing that it refuses reaches anybody."""
    raw = report()
    world.source.add(raw)
    done = world.run(decoder=JournalMailbox(policy=policy), removal=Removal.when_archived())

    assert (done.quarantined, done.stored) == ((1, 0) if held else (0, 1))
    assert [message.raw for message, _ in world.quarantine.held.values()] == [raw] * held


@pytest.mark.parametrize("lines", ["", "\r\nMessage-ID: <2@x.example>", "\r\nLabel: x\r\n"])
@pytest.mark.parametrize("opaque", [False, True])
@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("dialect", [Dialect.MANAGED_FOLDER, Dialect.TRANSPORT])
def test_no_subject_makes_its_writer_a_recipient_of_the_answer(
    world: World, dialect: Dialect, trusted: bool, opaque: bool, lines: str
) -> None:
    """It is told from the recipients, or where no rule can do that the report is held."""
    subject = f"RE: numbers{lines}\r\nBcc: mallory@corp.example"
    answer = messages.message(sender="alice@corp.example", subject=subject)
    defects = ["original_is_msg"] if opaque else []
    raw = report(original=answer, dialect=dialect, defects=defects)
    world.source.add(raw)
    done = world.run(decoder=JournalMailbox(policy=Policy(trusted_channel=trusted)))

    assert world.sink.of("mallory") == []
    if dialect is Dialect.TRANSPORT:
        assert len(world.sink.of("bob")) == done.stored == 1
    else:
        ((message, reason),) = world.quarantine.held.values()
        assert (message.raw, done.quarantined) == (raw, 1)
        assert "forged" in reason


@pytest.mark.parametrize("defect", ["sender_mismatch", "message_id_mismatch"])
def test_a_contradiction_needs_a_trusted_channel(world: World, defect: str) -> None:
    """An envelope that its original denies is held, unless nobody else can bring mail here."""
    world.source.add(report(defects=[defect]))

    assert world.run(decoder=JournalMailbox(policy=Policy())).quarantined == 1
    trusted = JournalMailbox(policy=Policy(trusted_channel=True))
    assert trusted(report(defects=[defect])).defects == (defect,)


def test_a_refusal_says_why_and_what_was_read() -> None:
    """The signs that disagree by name, no address, and the whole report for an operator."""
    with pytest.raises(MalformedReport, match="contradicted by tenant") as caught:
        JournalMailbox(policy=Policy(tenants={"corp.example"}))(report())

    partial = caught.value.partial
    assert isinstance(partial, JournalReport)
    assert partial.disposition is Disposition.OK
    assert caught.value.suggestions
    assert "@" not in str(caught.value)

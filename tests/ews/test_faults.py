"""The fault matrix of docs/howto/exchange.md, row by row."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from support.ews import ALICE, LIMITS, Clock, Desk, listed, pages, raws, read

from mailarchive import Unavailable
from mailarchive.archiver import Archiver
from mailarchive.auth import OAuth, Password
from mailarchive.errors import (
    AccessDenied,
    AuthenticationFailed,
    CheckpointInvalid,
    ConfigurationError,
    MailArchiveError,
    MailboxNotFound,
    SourceError,
    SourceUnavailable,
    Throttled,
)
from mailarchive.events import SourceNotice
from mailarchive.retry import RetryingSource
from mailarchive.sources.ews import (
    Access,
    EwsLimits,
    EwsSource,
    ExchangeOnlineWarning,
    FolderChoice,
)
from mailarchive.testing import ews_faults as faults
from mailarchive.testing._ews_answers import message
from mailarchive.testing._ews_shapes import MESSAGES
from mailarchive.testing.memory import MemoryCheckpoints, MemoryQuarantine, MemorySink, NoUsers

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailarchive import SourceMessage
    from mailarchive.events import Event
    from mailarchive.testing.ews_server import Call, Fault

SHARED = "shared@example.com"
ALWAYS = 1_000


def failing(desk: Desk, kind: type[MailArchiveError], **settings: object) -> MailArchiveError:
    """Open and read the mailbox, expect this error, and return it."""
    with pytest.raises(kind) as caught, desk.source(**settings) as source:
        read(source)
    error: MailArchiveError = caught.value
    assert type(error) is kind
    assert error.suggestions
    assert ALICE not in str(error)
    return error


def counted(fault: Fault) -> tuple[Fault, list[str]]:
    """Return the fault and a list that fills with the operations that it struck."""
    struck: list[str] = []

    def strike(call: Call) -> bool:
        struck.append(call.operation)
        return fault(call)

    return strike, struck


# Logins.


def test_a_wrong_password_is_tried_once(desk: Desk) -> None:
    """Trying again could lock the account."""
    error = failing(desk, AuthenticationFailed, auth=Password(ALICE, "wrong"))

    assert desk.server.refused_logins == 1
    assert desk.clock.waits == []
    assert "basic" in str(error)


def test_a_refused_password_in_the_middle_of_a_run_stops_it(desk: Desk) -> None:
    """Exchange does so for throttling too, but nobody can tell the two apart."""
    desk.deliver(8)
    strike, struck = counted(faults.unauthorized())
    calls = iter(range(ALWAYS))
    desk.server.fault = lambda call: (
        call.operation == "GetItem" and next(calls) > 0 and strike(call)
    )
    failing(desk, AuthenticationFailed)

    assert struck == ["GetItem"]
    assert desk.clock.waits == []


def test_a_token_that_expires_is_replaced_in_the_middle_of_a_run(desk: Desk) -> None:
    """One token more is asked for, and nothing is read twice."""
    whole = desk.deliver(13)
    given: list[str] = []

    def token() -> str:
        given.append(desk.server.token(ALICE, seconds=60))
        return given[-1]

    with desk.source(auth=OAuth(ALICE, token), method=None) as source:
        items: list[SourceMessage | Unavailable] = []
        for page in pages(source):
            desk.clock.now += timedelta(seconds=45)
            items += source.fetch(page.refs)

    assert raws(items) == sorted(whole)
    assert 2 <= len(given) <= 4
    assert desk.clock.waits == []


def test_a_token_that_is_refused_and_has_no_successor_stops_the_run(desk: Desk) -> None:
    """A provider that insists on it is believed at once."""
    tokens = iter(["wrong"] * 9)
    error = failing(
        desk, AuthenticationFailed, auth=OAuth(ALICE, lambda: next(tokens)), method=None
    )

    assert desk.server.refused_logins == 1
    assert "wrong" not in f"{error!r} {error.suggestions}"


# Rights.


def test_forbidden_without_a_word_names_every_cause(desk: Desk) -> None:
    """An EWS that is not allowed answers 403 and says nothing."""
    desk.server.fault = faults.forbidden()
    error = failing(desk, AccessDenied)

    assert len(error.suggestions) >= 3
    assert desk.clock.waits == []


def test_a_mailbox_that_is_not_there_is_said_so(desk: Desk) -> None:
    """With what to look at."""
    error = failing(desk, MailboxNotFound, mailbox="nobody@example.com")

    assert any("primary" in each for each in error.suggestions)


def test_impersonation_without_the_right_is_denied(desk: Desk) -> None:
    """By the server, and said as such."""
    desk.server.add_mailbox(SHARED)
    error = failing(desk, AccessDenied, access=Access.IMPERSONATION, mailbox=SHARED)

    assert any("ApplicationImpersonation" in each for each in error.suggestions)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("ErrorImpersonateUserDenied", "no"),
        ("SOAP:ErrorImpersonateUserDenied", ""),
        ("Server", "ErrorImpersonateUserDenied: no (E-3243)"),
    ],
)
def test_a_fault_of_another_kind_of_server_is_understood(desk: Desk, code: str, text: str) -> None:
    """It has a code where SOAP puts it, and nothing of Exchange's own."""
    fault = (
        '<SOAP:Envelope xmlns:SOAP="http://schemas.xmlsoap.org/soap/envelope/"><SOAP:Body>'
        f"<SOAP:Fault><faultcode>{code}</faultcode><faultstring>{text}</faultstring>"
        "</SOAP:Fault></SOAP:Body></SOAP:Envelope>"
    )
    desk.server.fault = lambda call: call.send(fault.encode(), 500)
    failing(desk, AccessDenied)


def test_an_impersonation_that_takes_no_effect_is_noticed(desk: Desk) -> None:
    """Or the login's own mail would be archived as somebody else's."""
    desk.server.add_mailbox(SHARED).delegates.add(ALICE)
    desk.server.fault = _without_header
    failing(desk, MailboxNotFound, access=Access.IMPERSONATION, mailbox=SHARED)


def _without_header(call: Call) -> bool:
    call.header = None
    return False


def test_an_application_needs_no_mailbox_of_its_own(desk: Desk) -> None:
    """Exchange refuses it without the header of an impersonation, so it is not asked."""
    desk.server.add_user("app", impersonates=True)
    desk.deliver(2)
    desk.server.fault = lambda call: (
        b"ExchangeImpersonation" not in call.request and faults.status(500)(call)
    )
    auth = OAuth("app", lambda: desk.server.token("app"))
    with desk.source(auth=auth, method=None, access=Access.IMPERSONATION) as source:
        assert len(read(source)) == 2

    assert desk.clock.waits == []


def test_a_server_that_opens_the_logins_own_mailbox_is_noticed(desk: Desk) -> None:
    """It was asked for another one."""
    desk.server.add_mailbox(SHARED)

    def own(call: Call) -> bool:
        for name in call.body.iter():
            for mailbox in list(name):
                if mailbox.tag.endswith("}Mailbox"):
                    name.remove(mailbox)
        return False

    desk.server.fault = own
    failing(desk, MailboxNotFound, access=Access.DELEGATE, mailbox=SHARED)


def test_a_delegate_without_rights_is_denied(desk: Desk) -> None:
    """And with them, reads."""
    shared = desk.server.add_mailbox(SHARED)
    shared.deliver(b"Subject: shared\r\n\r\n")
    failing(desk, AccessDenied, access=Access.DELEGATE, mailbox=SHARED)
    shared.delegates.add(ALICE)
    with desk.source(access=Access.DELEGATE, mailbox=SHARED) as source:
        items = read(source)

    assert raws(items) == [b"Subject: shared\r\n\r\n"]


# Throttling.


def test_back_off_milliseconds_are_kept_to_the_letter(desk: Desk) -> None:
    """Neither less, nor more, nor jittered; what was read is not read again."""
    whole = desk.deliver(9)
    desk.server.fault = faults.on("GetItem", faults.times(2, faults.busy(milliseconds=12_345)))
    with desk.source() as source:
        items = read(source)

    assert raws(items) == sorted(whole)
    assert desk.clock.waits == [12.345, 12.345]


@pytest.mark.parametrize("operation", ["GetFolder", "SyncFolderHierarchy", "SyncFolderItems"])
def test_every_operation_waits_as_it_is_told(desk: Desk, operation: str) -> None:
    """Listing as well as reading."""
    whole = desk.deliver(3)
    desk.server.fault = faults.on(operation, faults.times(1, faults.busy(milliseconds=500)))
    with desk.source() as source:
        items = read(source)

    assert raws(items) == sorted(whole)
    assert desk.clock.waits == [0.5]


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_kept_in_both_forms(desk: Desk, form: str, clock: Clock) -> None:
    """As RFC 9110 has them, on 429 and on 503."""
    whole = desk.deliver(3)
    later = format_datetime(clock.now + timedelta(seconds=17), usegmt=True)
    told = "17" if form == "seconds" else later
    for struck in (faults.too_many_requests(told), faults.status(503, {"Retry-After": told})):
        clock.now, clock.waits = Clock().now, []
        desk.server.fault = faults.on("SyncFolderItems", faults.times(1, struck))
        with desk.source() as source:
            assert raws(read(source)) == sorted(whole)
        assert clock.waits == [17.0]


def test_a_pause_that_is_too_long_is_the_callers(desk: Desk) -> None:
    """It is raised with its length, and nothing is waited."""
    desk.server.fault = faults.busy(milliseconds=3_600_000)
    with pytest.raises(Throttled) as caught, desk.source():
        pass

    assert caught.value.retry_after == 3600.0
    assert desk.clock.waits == []


def test_a_throttled_part_is_the_whole_requests_matter(desk: Desk) -> None:
    """Some servers say it of an item; the item is not given up for that."""
    whole = desk.deliver(5)
    struck = faults.times(2, faults.item_error("ErrorServerBusy"))
    desk.server.fault = faults.on("GetItem", struck)
    with desk.source() as source:
        items = read(source)

    assert raws(items) == sorted(whole)
    assert desk.clock.waits == [1.0, 2.0]


@pytest.mark.parametrize(
    "code",
    ["ErrorMailboxMoveInProgress", "ErrorInternalServerTransientError", "ErrorTimeoutExpired"],
)
def test_what_passes_is_waited_for(desk: Desk, code: str) -> None:
    """A failover, a move between databases, a batch that took too long."""
    whole = desk.deliver(5)
    desk.server.fault = faults.times(2, faults.item_error(code))
    with desk.source() as source:
        assert raws(read(source)) == sorted(whole)
        desk.server.fault = faults.on("GetItem", faults.times(2, faults.item_error(code)))
        assert raws(read(source)) == sorted(whole)

    assert desk.clock.waits


# Connections and answers.


def test_a_connection_that_breaks_costs_only_what_had_not_come(desk: Desk) -> None:
    """In the middle of an answer, at every of its octets in turn."""
    whole = desk.deliver(4)
    for keep in range(0, 4_000, 331):
        strike = faults.times(1, faults.hang_up(keep))
        desk.server.fault = faults.on("GetItem", strike)
        with desk.source() as source:
            assert raws(read(source)) == sorted(whole)


def test_an_item_that_breaks_every_answer_is_given_up_alone(desk: Desk) -> None:
    """The server answers as long as its MIME is not asked for, so the item is at fault."""
    whole = desk.deliver(9)
    victim = desk.mailbox.deliver(b"Subject: victim\r\n\r\n")

    def crash(call: Call) -> bool:
        mime = b"IncludeMimeContent" in call.request
        return mime and victim.id in call.ids and faults.hang_up(0)(call)

    desk.server.fault = crash
    with desk.source() as source:
        items = read(source)
    (unavailable,) = [item for item in items if isinstance(item, Unavailable)]

    assert raws(items) == sorted(whole)
    assert (unavailable.ref.key, unavailable.permanent) == (victim.id, False)


def test_a_server_that_is_away_is_said_so_after_a_while(desk: Desk) -> None:
    """So many attempts, each after twice the pause of the one before."""
    error = failing(desk, SourceUnavailable, url="http://127.0.0.1:1/EWS/Exchange.asmx")

    assert desk.clock.waits == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert any("url" in each for each in error.suggestions)


def test_a_server_that_goes_away_in_the_middle_gives_up_no_item(desk: Desk) -> None:
    """What it could not hand over is asked for by the next run."""
    desk.deliver(9)
    calls = iter(range(ALWAYS))
    desk.server.fault = lambda call: (
        call.operation == "GetItem" and next(calls) > 0 and faults.status(503)(call)
    )
    with pytest.raises(SourceUnavailable), desk.source() as source:
        assert not [item for item in read(source) if isinstance(item, Unavailable)]


def test_a_redirect_is_not_followed_with_a_secret(desk: Desk) -> None:
    """Where it leads is not even said, because it may be anybody's."""
    desk.server.fault = faults.redirected("https://owa.example.com/owa")
    error = failing(desk, ConfigurationError)

    assert "owa.example.com" not in str(error)


def test_a_portal_before_the_server_is_suspected(desk: Desk) -> None:
    """A page in HTML is no answer."""
    desk.server.fault = faults.answers_html()
    error = failing(desk, SourceUnavailable)

    assert "portal" in str(error)


@pytest.mark.parametrize("fault", [faults.doctype_bomb(), faults.cut_xml()], ids=["dtd", "cut"])
def test_an_answer_that_is_never_whole_is_no_answer(desk: Desk, fault: Fault) -> None:
    """Said after so many attempts."""
    desk.server.fault = fault
    failing(desk, SourceUnavailable)


def test_a_server_of_another_version_is_said_so(desk: Desk) -> None:
    """With the setting to change."""
    desk.server.fault = faults.refused("ErrorInvalidServerVersion")
    error = failing(desk, ConfigurationError)

    assert any("version" in each for each in error.suggestions)


# Listing.


def test_a_sync_state_that_is_lost_is_a_checkpoint_that_is_lost(desk: Desk) -> None:
    """The archiver lists the folder anew and says so; nothing is archived twice."""
    desk.deliver(7)
    state, sink = MemoryCheckpoints(), MemorySink()

    def run() -> Archiver:
        return Archiver(desk.source(), sink, NoUsers(), state=state, quarantine=MemoryQuarantine())

    assert run().run().stored == 7
    desk.mailbox.forget_sync_states()
    report = run().run()
    desk.mailbox.forget_sync_states()
    with desk.source() as source, pytest.raises(CheckpointInvalid):
        pages(source, state.saved[-1].token)

    assert (report.ok, report.stored, report.present, len(report.relisted)) == (True, 0, 7, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-4],
        lambda token: token + "AA==",
        lambda token: token.replace("1.", "2.", 1),
        lambda token: "A" * len(token),
    ],
    ids=range(4),
)
def test_a_token_that_was_changed_never_reaches_the_server(
    desk: Desk, change: Callable[[str], str]
) -> None:
    """Some servers take a sync state that they do not know for an empty one."""
    desk.deliver(3)
    with desk.source() as source:
        token = pages(source)[-1].token
        before = len(desk.server.calls)
        with pytest.raises(CheckpointInvalid):
            list(source.scan(source.folders()[0], change(token)))

    assert "SyncFolderItems" not in desk.server.calls[before:]


def test_a_token_of_another_folder_is_none_of_this(desk: Desk) -> None:
    """Each folder has its own."""
    desk.deliver(1)
    desk.mailbox.deliver(b"Subject: sent\r\n\r\n", "sentitems")
    with desk.source(folders=FolderChoice.only("Inbox", "Sent Items")) as source:
        token = pages(source)[-1].token
        with pytest.raises(CheckpointInvalid):
            pages(source, token, "Sent Items")


@pytest.mark.parametrize("half_way", [False, True])
def test_a_round_that_ends_in_what_is_gone_hides_nothing_that_comes(
    desk: Desk, *, half_way: bool
) -> None:
    """A token from the midst of such a round would lead to its end each time, and no further."""
    desk.deliver(10)
    inbox = desk.mailbox.folder("inbox")
    for item in list(inbox.items.values())[:5]:
        desk.mailbox.delete(item)
    with desk.source() as source:
        listed = pages(source)
        token = listed[0 if half_way else -1].token
        desk.mailbox.deliver(b"Subject: later\r\n\r\n")
        rest = pages(source, token)
        rest += pages(source, rest[-1].token)

    assert sum(len(page.refs) for page in listed) == 5
    assert sum(len(page.refs) for page in rest) == 1


def test_a_round_that_is_closed_early_goes_on(desk: Desk) -> None:
    """The server's word that there is no more is believed when it says so twice."""
    whole = desk.deliver(23)
    desk.server.fault = faults.early_end()
    with desk.source() as source:
        items = read(source)

    assert raws(items) == sorted(whole)


def test_a_round_that_never_ends_is_an_error(desk: Desk) -> None:
    """And not a loop."""
    desk.deliver(1)
    desk.server.fault = faults.on("SyncFolderItems", _endless)
    failing(desk, SourceError)


def _endless(call: Call) -> bool:
    tag = b"IncludesLastItemInRange>"
    return call.send(call.answer().replace(tag + b"true", tag + b"false"))


@pytest.mark.parametrize("count", [1, 5, 12])
def test_a_server_that_forgets_its_own_state_at_once_is_listed_once(
    desk: Desk, count: int
) -> None:
    """Asked whether that was all it tells everything again, with no end; we have had it."""
    whole = desk.deliver(count)

    def forgetful(call: Call) -> bool:
        for state in call.body.findall(f"{MESSAGES}SyncState"):
            call.body.remove(state)
        return False

    desk.server.fault = faults.on("SyncFolderItems", forgetful)
    with desk.source(limits=evolve(LIMITS, page=20)) as source:
        items = read(source)

    assert raws(items) == sorted(whole)


def test_a_server_that_does_only_so_many_at_once_is_not_waited_for(desk: Desk) -> None:
    """It answers a few items and puts the others off, without naming a pause."""
    whole = desk.deliver(20)

    def three(call: Call) -> bool:
        head, *parts, tail = call.parts()
        busy = message("GetItem", "<m:Items/>", code="ErrorServerBusy").encode()
        return call.send(b"".join([head, *parts[:3], *[busy for _ in parts[3:]], tail]))

    desk.server.fault = faults.on("GetItem", three)
    with desk.source(limits=EwsLimits()) as source:
        items = read(source)

    assert raws(items) == sorted(whole)
    assert desk.clock.waits == []
    assert desk.server.calls.count("GetItem") == 7


def test_a_folder_that_is_gone_fails_alone(desk: Desk) -> None:
    """The others are archived, and the report names it."""
    desk.deliver(3)
    desk.mailbox.deliver(b"Subject: sent\r\n\r\n", "sentitems")
    gone = desk.mailbox.folder("sentitems").id

    def vanished(call: Call) -> bool:
        return gone.encode() in call.request and call.send(call.refuse("ErrorSyncFolderNotFound"))

    desk.server.fault = faults.on("SyncFolderItems", vanished)
    report = Archiver(
        desk.source(folders=FolderChoice()),
        MemorySink(),
        NoUsers(),
        state=MemoryCheckpoints(),
        quarantine=MemoryQuarantine(),
    ).run()

    assert (report.stored, report.ok) == (3, False)
    assert [failure.code for failure in report.failures] == ["mailbox-not-found"]


def test_a_moved_item_is_read_where_it_is_now(desk: Desk) -> None:
    """It has another id there; in its old place it is left out, and is no failure."""
    desk.deliver(2)
    wanderer = desk.mailbox.deliver(b"Subject: wanderer\r\n\r\n")
    with desk.source(folders=FolderChoice.only("Inbox", "Sent Items")) as source:
        refs = listed(source)
        desk.mailbox.move(wanderer, "sentitems")
        here = list(source.fetch(refs))
        there = read(source, "Sent Items")

    assert len(here) == 2
    assert raws(there) == [wanderer.raw]


def test_two_sources_share_nothing(desk: Desk) -> None:
    """Same endpoint, same login, other limits: each keeps its own, whoever came first."""
    desk.deliver(2)
    desk.server.fault = faults.times(ALWAYS, faults.busy(milliseconds=1000))
    patient, hasty = Clock(), Clock()
    for clock, retries in ((patient, 7), (hasty, 0), (patient, 7)):
        limits = evolve(LIMITS, retries=retries)
        with pytest.raises(Throttled), desk.source(limits=limits, sleep=clock.sleep):
            pass

    assert (len(patient.waits), len(hasty.waits)) == (14, 0)


def test_a_wrong_password_does_not_stick(desk: Desk) -> None:
    """A second source with the right one, and the same name, gets in."""
    desk.deliver(1)
    failing(desk, AuthenticationFailed, auth=Password(ALICE, "wrong"))
    with desk.source() as source:
        assert len(read(source)) == 1


def online(host: str = "outlook.office365.com") -> EwsSource:
    """A mailbox at Exchange Online."""
    auth = OAuth(ALICE, lambda: "token")
    return EwsSource(f"https://{host}/EWS/Exchange.asmx", auth=auth, access="own", mailbox=ALICE)


@pytest.mark.parametrize("host", ["outlook.office365.com", "OUTLOOK.OFFICE.com", "x.outlook.com"])
def test_exchange_online_warns_of_its_end_once(host: str) -> None:
    """With the dates and the way out."""
    with pytest.warns(ExchangeOnlineWarning, match="1 October 2026.*1 April 2027") as warned:
        source = online(host)

    assert len(warned) == 1
    assert "Graph" in str(warned[0].message)
    assert [notice.code for notice in RetryingSource(source).notices] == ["ews-ends"]


def test_an_observer_hears_of_the_end_of_ews() -> None:
    """Once a run, before anything is connected."""
    heard: list[Event] = []
    with pytest.warns(ExchangeOnlineWarning):
        source = online()
    archiver = Archiver(
        source,
        MemorySink(),
        NoUsers(),
        state=MemoryCheckpoints(),
        quarantine=MemoryQuarantine(),
        observer=heard.append,
    )

    def nowhere() -> None:
        raise SourceError("far enough")

    source._open = nowhere  # type: ignore[method-assign]  # nothing is to be connected
    with pytest.raises(SourceError, match="far enough"):
        archiver.run()
    assert [each for each in heard if isinstance(each, SourceNotice)] == list(source.notices)


def test_a_server_of_ones_own_warns_of_nothing(desk: Desk) -> None:
    """Nor does one that only sounds like Microsoft's."""
    assert desk.source().notices == ()
    assert desk.source(url="https://notoutlook.com/EWS/Exchange.asmx").notices == ()

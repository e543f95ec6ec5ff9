"""What goes wrong at Graph, and what becomes of it: the rows of the fault matrix."""

from __future__ import annotations

from contextlib import closing
from email.utils import format_datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

import pytest
from attrs import evolve
from support.graph import ANN, QUICK, Archive, GraphWorld, mail, read_all
from support.ports import hang_up, port_of

from mailarchive import SourceMessage, Unavailable
from mailarchive.auth import any_scope
from mailarchive.errors import (
    AccessDenied,
    AuthenticationFailed,
    ConfigurationError,
    MailArchiveError,
    MailboxNotFound,
    SourceError,
    SourceUnavailable,
    Throttled,
)
from mailarchive.sources.graph import FolderChoice, GraphSource
from mailarchive.testing.entra_server import EntraServer
from mailarchive.testing.graph_server import (
    Answer,
    Fault,
    GraphServer,
    endless,
    html_page,
    no_json,
    no_message,
    refused,
    silent_refusal,
    throttled,
    truncated,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from datetime import datetime

    from support.graph import Time

    from mailarchive.testing.graph_server import Request

VALUE = r"/\$value\Z"
DELTA = r"/delta\Z"


def opening(world: GraphWorld, **given: object) -> MailArchiveError:
    """The error of opening and listing, which says what to do and names nobody."""
    with pytest.raises(MailArchiveError) as caught, world.graph(**given) as source:
        source.folders()
    assert caught.value.suggestions
    assert "ann" not in f"{caught.value} {caught.value.suggestions}"
    return caught.value


def texts(items: list[SourceMessage | Unavailable]) -> list[bytes]:
    """What was read, sorted."""
    return sorted(item.raw for item in items if isinstance(item, SourceMessage))


def lacking(items: list[SourceMessage | Unavailable]) -> list[Unavailable]:
    """What was not."""
    return [item for item in items if isinstance(item, Unavailable)]


# -- the mailbox ----------------------------------------------------------------------------


def test_a_mailbox_that_nobody_has_is_told(world: GraphWorld) -> None:
    """By its code; a 404 alone could be anything."""
    error = opening(world, mailbox="nobody@contoso.example")

    assert type(error) is MailboxNotFound


def test_a_mailbox_on_premises_or_without_a_licence_is_told(world: GraphWorld) -> None:
    """With the way in over EWS."""
    world.store.broken = (404, "MailboxNotEnabledForRESTAPI")
    error = opening(world)

    assert type(error) is MailboxNotFound
    assert "EWS" in " ".join(error.suggestions)


def test_another_mailbox_than_the_one_meant_is_refused(world: GraphWorld) -> None:
    """Before a message of it is read."""
    world.store.answers_as = world.server.add_user("bob@contoso.example").user
    error = opening(world)

    assert type(error) is MailboxNotFound
    assert "another mailbox" in str(error)
    assert not [path for path in world.server.asked if "mailFolders" in path]


@pytest.mark.parametrize("name", ["alias@contoso.example", "ANN@Contoso.example", "id"])
def test_a_mailbox_may_be_named_in_every_way(world: GraphWorld, name: str) -> None:
    """By an alias, in other letters, by its object id."""
    world.store.user["proxyAddresses"].append("smtp:alias@contoso.example")
    named = world.store.user["id"] if name == "id" else name
    with world.graph(mailbox=named) as source:
        assert source.folders()
        assert "mailbox-not-verified" not in {gap.code for gap in source.gaps()}


def test_without_the_right_to_ask_whose_it_is_the_report_says_so(world: GraphWorld) -> None:
    """Mail.Read alone is enough to archive."""
    world.server.directory_allowed = False
    world.deliver(mail(2))
    report = Archive(world).run()

    assert report.stored == 2
    assert "mailbox-not-verified" in {gap.code for gap in report.gaps}


@pytest.mark.parametrize(
    "fault",
    [silent_refusal("mailFolders", times=9), refused("mailFolders", 403, "ErrorAccessDenied")],
)
def test_an_application_that_may_not_read_is_told(world: GraphWorld, fault: Fault) -> None:
    """Every reason that a 403 can have, also where it has no body."""
    world.server.faults.append(fault)
    error = opening(world)

    assert type(error) is AccessDenied
    assert "Mail.Read" in " ".join(error.suggestions)


# -- the token ------------------------------------------------------------------------------


def test_a_token_that_expires_is_replaced_under_way(world: GraphWorld) -> None:
    """Nothing is read twice, and nothing is lost."""
    world.deliver(mail(12))
    with world.source() as source:
        (folder,) = source.folders()
        items: list[SourceMessage | Unavailable] = []
        for page in source.scan(folder):
            items += source.fetch(page.refs)
            world.server.expire_token()

    assert texts(items) == sorted(mail(12))


def test_a_token_that_is_refused_for_good_stops_the_run(world: GraphWorld) -> None:
    """At once: trying on could lock the application out."""
    error = opening(world, tokens=lambda scope, refused=None: f"{scope}#0")

    assert type(error) is AuthenticationFailed
    assert len(world.server.asked) == 1


def test_a_revoked_token_is_had_anew_from_the_identity_platform(time: Time) -> None:
    """By MSAL, in the middle of a page."""
    from mailarchive.auth.msal import ClientSecret, MsalTokens

    with EntraServer() as login, GraphServer([ANN], accept=login.is_good) as server:
        tokens = MsalTokens(
            login.tenant,
            login.client_id,
            ClientSecret(login.secret),
            cloud=login.cloud(graph=server.cloud.graph),
            ca_file=login.ca_file,
        )
        world = GraphWorld(server, time)
        world.deliver(mail(8))
        with world.source(tokens=tokens) as source:
            (folder,) = source.folders()
            login.revoke()
            items = [item for page in source.scan(folder) for item in source.fetch(page.refs)]

    assert texts(items) == sorted(mail(8))
    assert len(login.asked) == 2
    assert server.violations == []


# -- pauses ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [VALUE, DELTA, "mailFolders"])
@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
def test_a_pause_that_is_asked_for_is_kept_exactly(
    world: GraphWorld, time: Time, path: str, *, as_date: bool
) -> None:
    """In both forms of Retry-After, and by every request that follows."""
    world.deliver(mail(1))
    date = format_datetime(time.now.replace(second=17), usegmt=True)
    world.server.faults.append(throttled(path, date if as_date else "17"))
    with world.source() as source:
        items = read_all(source)

    assert texts(items) == mail(1)
    assert time.slept == [17.0]


def test_a_pause_longer_than_our_patience_goes_to_the_caller(world: GraphWorld) -> None:
    """With how long it is."""
    world.server.faults.append(throttled(DELTA, "3600"))
    with world.source() as source, pytest.raises(Throttled) as caught:
        read_all(source)

    assert caught.value.retry_after == 3600.0


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_server_that_is_busy_is_asked_again_a_little_later(
    world: GraphWorld, time: Time, status: int
) -> None:
    """Without Retry-After the waits grow."""
    world.deliver(mail(1))
    world.server.faults.append(silent_refusal(DELTA, status, times=3))
    with world.source() as source:
        assert texts(read_all(source)) == mail(1)

    assert time.slept == [0.5, 2.0, 8.0]


def test_a_server_that_stays_busy_is_unavailable(world: GraphWorld) -> None:
    """After as many attempts as the limit says."""
    world.server.faults.append(silent_refusal(DELTA, 503, times=99))
    with world.source() as source, pytest.raises(SourceUnavailable):
        read_all(source)

    assert len([path for path in world.server.asked if path.endswith("delta")]) == QUICK.tries


def test_a_server_that_is_away_is_unavailable(time: Time) -> None:
    """Not a wrong password."""
    with GraphServer() as server:
        world = GraphWorld(server, time)
        source = world.source()
    with pytest.raises(SourceUnavailable), source:
        pass


# -- messages -------------------------------------------------------------------------------

DAMAGES: list[Callable[..., Fault]] = [truncated, endless, html_page, no_message]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda it: it.__name__)
def test_a_damaged_answer_is_asked_for_again(
    world: GraphWorld, damage: Callable[..., Fault]
) -> None:
    """It is never taken for a message."""
    world.deliver(mail(6))
    world.server.faults.append(damage(VALUE, times=3, every=2))
    with world.source() as source:
        items = read_all(source)

    assert texts(items) == sorted(mail(6))


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda it: it.__name__)
def test_a_message_that_only_comes_damaged_waits_and_the_others_come(
    world: GraphWorld, damage: Callable[..., Fault]
) -> None:
    """It is on the retry list, and not in the archive."""
    world.deliver(mail(3))
    bad = world.store.contents()[1]
    world.server.faults.append(damage(bad.id.replace("=", "(=|%3D)") + VALUE, times=99))
    report = Archive(world).run()

    assert (report.stored, report.failed, report.waiting) == (2, 1, 1)
    assert not report.ok


CUT = b"Subject: a\r\n\r\nbody\r\n=== Truncated Data ===\r\n"


@pytest.mark.parametrize("raw", [CUT, b"", b"\r\n", b"no header at all\r\n", b"{}"])
def test_what_cannot_be_a_message_is_none(world: GraphWorld, raw: bytes) -> None:
    """Exchange begins every message that it makes with a header field, and marks a cut one."""
    world.deliver([raw])
    with world.source() as source:
        (item,) = read_all(source)

    assert isinstance(item, Unavailable)
    assert not item.permanent


PARTS = b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nhello\r\n'


def test_a_message_whose_parts_do_not_end_is_read_twice(world: GraphWorld) -> None:
    """Where it comes the same again, it was sent so; where it does not, it was cut."""
    world.deliver([PARTS, PARTS + b"--b--\r\n"])
    with world.source() as source:
        assert texts(read_all(source)) == sorted([PARTS, PARTS + b"--b--\r\n"])
    assert len([path for path in world.server.asked if path.endswith("value")]) == 3


def test_a_message_cut_without_a_trace_is_read_again(world: GraphWorld) -> None:
    """The length agrees and the type does; the second answer differs from the first."""
    whole = PARTS + b"--b--\r\n"
    world.deliver([whole])
    cut = Fault(VALUE, lambda request, honest: evolve(honest, body=whole[: len(PARTS) - 4]))
    world.server.faults.append(cut)
    with world.source() as source:
        (item,) = read_all(source)

    assert isinstance(item, Unavailable)


@pytest.mark.parametrize(
    "code",
    ["ErrorMimeContentConversionFailed", "ErrorContentConversionFailed", "ErrorCorruptData"],
)
def test_a_message_that_cannot_be_converted_is_asked_for_once(
    world: GraphWorld, code: str
) -> None:
    """It fails the same each time: it is told, counted as a gap, and stops nobody else."""
    world.deliver(mail(4))
    world.store.contents()[2].refused = (500, code)
    archive = Archive(world)
    report = archive.run()

    assert (report.stored, report.failed) == (3, 1)
    assert {gap.code: gap.count for gap in report.gaps}["unconvertible"] == 1
    assert len([path for path in world.server.asked if path.endswith("value")]) == 4


def test_a_reason_that_we_do_not_know_is_tried_again_and_then_waits(world: GraphWorld) -> None:
    """A 500 alone means nothing."""
    world.deliver(mail(2))
    world.store.contents()[0].refused = (500, "ErrorSomethingNew")
    with world.source() as source:
        items = read_all(source)

    (item,) = lacking(items)
    assert not item.permanent
    assert "ErrorSomethingNew" in item.reason


def test_a_server_that_hands_over_nothing_any_more_fails_the_folder(world: GraphWorld) -> None:
    """A mailbox full of retries would hide that; and the next run begins where it was."""
    world.deliver(mail(40))
    archive = Archive(world)
    source = world.source(limits=evolve(QUICK, page=40))
    world.server.faults.append(refused(VALUE, 500, "ErrorInternalServerError", times=9_999))
    report = archive.run(source)

    assert [failure.code for failure in report.failures] == ["source-unavailable"]
    assert report.waiting == 0
    world.server.faults.clear()
    assert archive.run().stored == 40


def test_a_404_without_a_code_is_not_taken_for_a_message_that_is_gone(world: GraphWorld) -> None:
    """What a gateway does not find may be there all the same."""
    world.deliver(mail(1))
    world.server.faults.append(silent_refusal(VALUE, 404))
    with world.source() as source:
        items = read_all(source)

    assert len(lacking(items)) == 1


def test_a_message_that_is_gone_is_left_out(world: GraphWorld) -> None:
    """Graph says so by its code."""
    world.deliver(mail(3))
    with world.source() as source:
        (folder,) = source.folders()
        refs = [ref for page in source.scan(folder) for ref in page.refs]
        world.lose(refs[1])
        assert {item.ref for item in source.fetch(refs)} == {refs[0], refs[2]}


def test_a_message_that_was_moved_is_read_where_it_is(world: GraphWorld) -> None:
    """Its immutable id stays, and its new folder lists it too."""
    world.deliver(mail(2))
    with world.graph() as source:
        folders = {folder.name: folder for folder in source.folders()}
        refs = [ref for page in source.scan(folders["Inbox"]) for ref in page.refs]
        world.store.move(refs[0].key, "sentitems")
        items = list(source.fetch(refs))
        moved = read_all(source, "Sent Items")

    assert texts(items) == sorted(mail(2))
    assert texts(moved) == mail(1)


def test_a_protected_message_stops_nobody_else(world: GraphWorld) -> None:
    """A 403 for one message is told from one for the mailbox."""
    world.deliver(mail(3))
    world.store.contents()[1].refused = (403, "ErrorAccessDenied")
    with world.source() as source:
        items = read_all(source)

    assert len(texts(items)) == 2
    assert len(lacking(items)) == 1


def test_a_right_that_is_taken_away_under_way_stops_the_folder(world: GraphWorld) -> None:
    """What was not read yet is read by the next run that may."""
    world.deliver(mail(6))
    archive = Archive(world)
    source = world.source()
    faults = world.server.faults
    faults += [refused("messages/AA", 403, "ErrorAccessDenied", times=99)]
    report = archive.run(source)

    assert [failure.code for failure in report.failures] == ["access-denied"]
    faults.clear()
    assert archive.run().stored == 6


def test_a_message_beyond_the_limit_is_unavailable_for_good(world: GraphWorld) -> None:
    """It is not read into memory; the others are read."""
    world.deliver([*mail(2), b"Subject: large\r\n\r\n" + b"x" * 5_000])
    with world.source(limits=evolve(QUICK, message_octets=1_024)) as source:
        items = read_all(source)

    (item,) = lacking(items)
    assert item.permanent
    assert len(texts(items)) == 2


def test_no_more_than_four_requests_are_in_flight(world: GraphWorld) -> None:
    """Graph refuses a fifth; and four are."""
    world.server.latency = 0.005
    world.deliver(mail(40))
    with world.source(limits=evolve(QUICK, page=40)) as source:
        read_all(source)

    assert world.server.most_in_flight == 4


# -- other hosts ----------------------------------------------------------------------------


def elsewhere(link: str) -> Fault:
    """A listing whose next page is somewhere else."""

    def lie(request: Request, honest: Answer) -> Answer:
        del request
        return evolve(honest, body=b'{"value": [], "@odata.nextLink": "%s"}' % link.encode())

    return Fault(DELTA, lie)


@pytest.mark.parametrize(
    "link",
    [
        "https://graph.evil.example/v1.0/users/x",
        "http://127.0.0.1/v1.0/users/x",
        "http://127.0.0.1:1@graph.evil.example/v1.0/users/x",
        "/v1.0/users/x",
        "file:///etc/passwd",
        "",
        "http://[",
    ],
)
def test_a_next_page_at_another_host_is_not_followed(world: GraphWorld, link: str) -> None:
    """The token goes to Graph alone."""
    world.server.faults.append(elsewhere(link))
    with world.source() as source, pytest.raises(SourceError) as caught:
        read_all(source)

    assert caught.value.suggestions


def test_a_redirect_is_not_followed(world: GraphWorld, time: Time) -> None:
    """Wherever it leads, the token would go along."""
    with GraphServer(clock=time.clock) as other:
        headers = {"Location": f"{other.cloud.graph}/v1.0/users/x"}
        world.server.faults.append(Fault(DELTA, lambda *_: Answer(302, b"", headers)))
        with world.source() as source, pytest.raises(SourceError, match="HTTP 302"):
            read_all(source)

        assert other.asked == []


@pytest.mark.parametrize(
    "damage", [truncated, endless, html_page, no_json], ids=lambda it: it.__name__
)
@pytest.mark.parametrize("path", [DELTA, "mailFolders"])
def test_a_damaged_listing_is_asked_for_again(
    world: GraphWorld, path: str, damage: Callable[..., Fault]
) -> None:
    """And where it stays so, the folder fails: a short listing is never taken for a whole one."""
    world.deliver(mail(7))
    world.server.faults.append(damage(path, times=2))
    with world.source() as source:
        assert texts(read_all(source)) == sorted(mail(7))
    world.server.faults.append(damage(path, times=99))
    with pytest.raises(SourceUnavailable), world.source() as source:
        read_all(source)


@pytest.mark.parametrize(
    "body",
    [b"[]", b"{}", b'{"value": {}}', b'{"value": [1]}', b'{"value": [{"id": "../x"}]}', b"9" * 50],
)
def test_a_listing_of_another_shape_fails_the_folder(world: GraphWorld, body: bytes) -> None:
    """It lists nothing, and says so."""
    world.server.faults.append(Fault(DELTA, lambda _, honest: evolve(honest, body=body), times=99))
    with world.source() as source, pytest.raises(SourceError):
        read_all(source)


def test_a_pause_until_a_moment_that_is_past_is_none(world: GraphWorld, time: Time) -> None:
    """Clocks differ."""
    past: datetime = time.now.replace(year=2020)
    world.server.faults.append(throttled(DELTA, format_datetime(past, usegmt=True)))
    with world.source() as source:
        read_all(source)

    assert time.slept == []


def test_a_server_that_nobody_vouches_for_gets_no_token(time: Time) -> None:
    """Its certificate is looked at first; the setting is named."""
    asked: list[str] = []

    def tokens(scope: str, /, *, refused: str | None = None) -> str:
        asked.append(scope)
        return "token"

    with EntraServer() as stranger:
        cloud = stranger.cloud(graph=stranger.cloud().login)
        source = GraphSource(ANN, tokens, cloud=cloud, clock=time.clock, sleep=time.sleep)
        with pytest.raises(ConfigurationError) as caught, source:
            pass

    assert "ca_file" in " ".join(caught.value.suggestions)
    assert stranger.asked == []


def test_an_end_in_the_middle_of_the_handshake_is_tried_again(time: Time) -> None:
    """As by a proxy that just starts; it was a wrong setting, and ended the run."""
    served: list[int] = []

    def serve(sock: socket.socket, number: int) -> None:
        served.append(number)
        hang_up(sock, number)

    with EntraServer() as login, port_of(serve) as port:
        cloud = login.cloud(graph=f"https://127.0.0.1:{port}")
        source = GraphSource(
            ANN,
            any_scope(lambda: "token"),
            cloud=cloud,
            limits=QUICK,
            clock=time.clock,
            sleep=time.sleep,
        )
        with pytest.raises(SourceUnavailable), source:
            source.folders()

    assert len(served) == QUICK.tries


def test_a_catch_all_of_graphs_stops_this_mailbox_and_no_other(world: GraphWorld) -> None:
    """It means a missing licence as often as a bad token."""
    world.server.faults.append(refused("mailFolders", 401, "AuthenticationError", times=99))
    error = opening(world)

    assert type(error) is AccessDenied
    assert "licence" in " ".join(error.suggestions)


def test_a_run_that_is_stopped_waits_for_no_pause(world: GraphWorld) -> None:
    """Ten minutes are long for somebody who has pressed Ctrl-C."""
    world.deliver(mail(5))
    with world.graph(sleep=None, folders=FolderChoice.only("Inbox")) as source:
        (folder,) = source.folders()
        refs = [ref for page in source.scan(folder) for ref in page.refs]
        held = world.store.contents()[3].id.replace("=", "(=|%3D)")
        world.server.faults.append(throttled(held + VALUE, "500"))
        begun = monotonic()
        with closing(cast("Any", source.fetch(refs))) as half:
            next(half)
            next(half)

    assert monotonic() - begun < 60

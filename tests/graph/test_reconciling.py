"""What delta queries lose, a plain listing finds; what is known is not read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from support.graph import QUICK, Archive, GraphWorld, mail, read_all

from mailarchive.auth import CHINA
from mailarchive.errors import CheckpointInvalid, SourceError, StateError
from mailarchive.testing.graph_server import Fault, refused

if TYPE_CHECKING:
    from pathlib import Path

    from support.graph import Time

    from mailarchive.testing.graph_server import Answer, Request


@pytest.fixture
def world(world: GraphWorld, tmp_path: Path) -> GraphWorld:
    """Ann's mailbox, with what was listed remembered in a file."""
    return evolve(world, seen=tmp_path / "seen.db")


def asked(world: GraphWorld, what: str) -> int:
    """How many requests there were of a kind, since it was last asked."""
    count = len([path for path in world.server.asked if path.endswith(what)])
    world.server.asked.clear()
    return count


def test_a_round_that_closes_early_is_completed(world: GraphWorld) -> None:
    """The server's count says that something is missing; each message is read once."""
    world.deliver(mail(12))
    inbox = world.store.box("inbox")
    assert inbox is not None
    inbox.closes_early = 1
    archive = Archive(world)

    assert archive.run().stored == 12
    assert asked(world, "$value") == 12
    assert archive.run().listed == 0


def test_a_message_that_went_and_came_back_is_found(world: GraphWorld) -> None:
    """Delta tells that it is gone and never that it is back (microsoft-graph-docs 21752)."""
    archive = Archive(world)
    world.deliver(mail(3))
    archive.run()
    world.deliver(mail(1, start=3))
    world.store.move_away_and_back(world.store.contents()[-1].id)

    assert archive.run().stored == 1
    assert sorted(archive.raws) == sorted(mail(4))


def test_what_was_archived_before_it_went_and_came_back_is_not_read_again(
    world: GraphWorld,
) -> None:
    """Its id and its version are known."""
    archive = Archive(world)
    world.deliver(mail(3))
    archive.run()
    world.server.asked.clear()
    world.store.move_away_and_back(world.store.contents()[0].id)
    report = archive.run()

    assert (report.listed, asked(world, "$value")) == (0, 0)


def test_a_lost_delta_link_costs_a_listing_and_no_message(world: GraphWorld) -> None:
    """The folder is listed anew; what is known is not read again, what is new is."""
    archive = Archive(world)
    world.deliver(mail(8))
    archive.run()
    world.store.reset_deltas()
    world.deliver(mail(1, start=8))
    world.server.asked.clear()
    report = archive.run()

    assert [folder.name for folder in report.relisted] == ["Inbox"]
    assert (report.stored, asked(world, "$value")) == (1, 1)


@pytest.mark.parametrize(
    ("status", "code"),
    [(410, "SyncStateNotFound"), (400, "SyncStateInvalid"), (410, "ResyncRequired"), (410, "x")],
)
def test_every_way_to_lose_a_delta_link_invalidates_the_checkpoint(
    world: GraphWorld, status: int, code: str
) -> None:
    """By its code, or by a 410, which means nothing else for a delta link."""
    world.server.faults.append(refused("delta", status, code))
    with world.source() as source, pytest.raises(CheckpointInvalid):
        read_all(source)


def test_without_the_file_a_lost_delta_link_is_harmless_too(world: GraphWorld) -> None:
    """Everything is read once more, and is in the archive already."""
    world = evolve(world, seen=None)
    archive = Archive(world)
    world.deliver(mail(8))
    archive.run()
    world.store.reset_deltas()
    report = archive.run()

    assert (report.stored, report.present) == (0, 8)


def test_without_the_file_the_report_says_what_was_not_checked(world: GraphWorld) -> None:
    """In the run that lists everything it can be; in a later process it cannot."""
    world = evolve(world, seen=None)
    archive = Archive(world)
    world.deliver(mail(2))
    first, second = archive.run(), archive.run()

    assert "not-reconciled" not in {gap.code for gap in first.gaps}
    assert {gap.code: gap.count for gap in second.gaps}["not-reconciled"] == 1


def test_a_file_that_is_lost_costs_one_reading(world: GraphWorld) -> None:
    """And no message: what is read again is in the archive already."""
    archive = Archive(world)
    world.deliver(mail(7))
    archive.run()
    assert world.seen is not None
    world.seen.unlink()
    again, third = archive.run(), archive.run()

    assert (again.stored, again.present) == (0, 7)
    assert third.listed == 0


def test_a_damaged_file_is_told(world: GraphWorld) -> None:
    """With what to do; and nothing is taken from it."""
    assert world.seen is not None
    world.seen.write_bytes(b"no database at all, and long enough to be seen as none" * 50)
    with world.source() as source, pytest.raises(StateError) as caught:
        read_all(source)

    assert "remove the file" in " ".join(caught.value.suggestions)


def test_a_page_that_was_never_accounted_for_is_listed_again(world: GraphWorld) -> None:
    """The file may be ahead of the checkpoint, after a crash; the checkpoint counts."""
    world.deliver(mail(12))
    with world.source() as source:
        (folder,) = source.folders()
        pages = list(source.scan(folder))
    after = pages[0].token
    with world.source() as source:
        again = [ref for page in source.scan(folder, after) for ref in page.refs]

    assert again == [ref for page in pages[1:] for ref in page.refs]


def test_from_the_start_everything_is_listed_whatever_the_file_says(world: GraphWorld) -> None:
    """Somebody who removed the checkpoints wants it all once more."""
    world.deliver(mail(4))
    for _ in range(2):
        with world.source() as source:
            assert len(read_all(source)) == 4


def test_a_folder_is_listed_in_full_when_the_time_has_come(world: GraphWorld, time: Time) -> None:
    """Also where the counts agree: one message may have been lost for another."""
    archive = Archive(world)
    world.deliver(mail(3))
    archive.run()
    asked(world, "inbox")
    archive.run()
    assert not asked(world, "/messages")
    time.pass_by(days=8)
    archive.run()

    assert asked(world, "/messages") == 1


def test_items_that_are_no_mail_are_a_gap_and_not_a_reason_to_list_each_time(
    world: GraphWorld,
) -> None:
    """Graph counts contacts and appointments in a mail folder, and lists none."""
    inbox = world.store.box("inbox")
    assert inbox is not None
    inbox.others = 3
    archive = Archive(world)
    world.deliver(mail(2))
    report = archive.run()
    world.server.asked.clear()
    archive.run()

    assert {gap.code: gap.count for gap in report.gaps}["no-mail"] == 3
    assert not asked(world, "/messages")


def test_a_changed_message_is_archived_once_more(world: GraphWorld) -> None:
    """Its change key is another, so it is another version."""
    archive = Archive(world)
    world.deliver(mail(2))
    archive.run()
    world.store.change(world.store.contents()[0].id, raw=mail(1, start=7)[0])

    assert archive.run().stored == 1
    assert sorted(archive.raws) == sorted([*mail(2), *mail(1, start=7)])


@pytest.mark.parametrize("bad", [0, 4, 11])
def test_a_message_that_breaks_the_delta_query_stops_nobody(world: GraphWorld, bad: int) -> None:
    """A plain listing goes around; where that can name it, it is archived like the others."""
    world.deliver(mail(12))
    world.store.contents()[bad].breaks = frozenset({"delta"})
    archive = Archive(world)
    report = archive.run()

    assert report.ok
    assert sorted(archive.raws) == sorted(mail(12))
    assert archive.run().listed == 0


def test_a_message_that_can_only_be_listed_by_its_id_is_archived(world: GraphWorld) -> None:
    """The page that fails is made smaller until it holds that message alone."""
    world.deliver(mail(12))
    world.store.contents()[5].breaks = frozenset({"delta", "list"})
    archive = Archive(world)

    assert archive.run().ok
    assert sorted(archive.raws) == sorted(mail(12))


def test_a_message_that_cannot_be_listed_at_all_is_told_each_time(world: GraphWorld) -> None:
    """The others are archived; the folder is not done, and the report says so."""
    world.deliver(mail(12))
    world.store.contents()[5].breaks = frozenset({"delta", "list", "id"})
    archive = Archive(world)
    for _ in range(2):
        report = archive.run()
        assert [failure.code for failure in report.failures] == ["source"]
        assert {gap.code: gap.count for gap in report.gaps}["unlistable"] == 1

    assert sorted(archive.raws) == sorted(mail(12)[:5] + mail(12)[6:])


def test_a_cloud_without_delta_queries_is_listed_each_time(
    world: GraphWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """China's has none, says Microsoft; what is known is not read again."""
    monkeypatch.setattr("mailarchive.sources.graph.CHINA", world.server.cloud)
    assert world.server.cloud != CHINA
    archive = Archive(world)
    world.deliver(mail(12))
    assert archive.run().stored == 12
    world.deliver(mail(2, start=12))
    world.server.asked.clear()

    assert archive.run().stored == 2
    assert not [path for path in world.server.asked if path.endswith("delta")]


def test_a_token_stays_small(world: GraphWorld) -> None:
    """However many messages there are: it is saved with each page."""
    world.deliver(mail(300))
    with world.source(limits=evolve(QUICK, page=50)) as source:
        (folder,) = source.folders()
        sizes = [len(page.token) for page in source.scan(folder)]

    assert max(sizes) < 500


def test_a_link_beyond_the_limit_is_refused(world: GraphWorld) -> None:
    """A checkpoint cannot be made to grow."""

    def grown(_: Request, honest: Answer) -> Answer:
        return evolve(honest, body=honest.body.replace(b"token=", b"token=" + b"x" * 500))

    world.deliver(mail(12))
    world.server.faults.append(Fault("delta", grown))
    with (
        world.source(limits=evolve(QUICK, link_octets=256)) as source,
        pytest.raises(SourceError, match="longer than the limit"),
    ):
        read_all(source)

"""What would survive a loss of power, read from the system calls of a process."""

from __future__ import annotations

import pytest

from mailarchive.testing import _medium
from mailarchive.testing._traced import _joined

ACK = 'access("/mailarchive:acknowledged", F_OK) = -1 ENOENT (No such file or directory)'
NEW = 'openat(AT_FDCWD</srv>, "mail/a", O_WRONLY|O_CREAT|O_EXCL, 0600) = 3</srv/mail/a>'
WRITE = 'write(3</srv/mail/a>, ""..., 100) = 100'
SYNC = "fsync(3</srv/mail/a>) = 0"
FOLDER = "fsync(4</srv/mail>) = 0"
FAILED = "fsync(3</srv/mail/a>) = -1 EIO (Input/output error) (INJECTED)"
FOLDER_FAILED = "fsync(4</srv/mail>) = -1 EIO (Input/output error) (INJECTED)"
REFUSED = ACK.replace("acknowledged", "refused")
GONE = 'unlink("/srv/mail/a") = 0'


@pytest.mark.parametrize(
    ("calls", "durable"),
    [
        ([NEW, WRITE, SYNC, FOLDER], 100),
        ([NEW, WRITE, FOLDER, SYNC], 100),
        ([NEW, WRITE, SYNC], 0),
        ([NEW, WRITE, FOLDER], 0),
        ([NEW, SYNC, FOLDER, WRITE], 0),
        ([NEW, WRITE, "fdatasync(3</srv/mail/a>) = 0", FOLDER], 100),
        ([WRITE, SYNC], 100),  # it was there before, under a durable name
        ([NEW, WRITE, SYNC, WRITE, FOLDER], 100),
        ([NEW, WRITE, "sync() = 0"], 100),
        ([NEW.replace("O_EXCL", "O_EXCL|O_DSYNC"), FOLDER, WRITE], 100),
        # A sync that failed; what follows is believed of what was done anew.
        ([NEW, WRITE, FAILED, SYNC, FOLDER], 0),
        ([NEW, WRITE, SYNC, FOLDER_FAILED], 0),
        ([NEW, WRITE, FAILED, WRITE, SYNC, FOLDER], 0),
        ([NEW, WRITE, FAILED, REFUSED, SYNC, FOLDER], 0),
        ([NEW, WRITE, FAILED, REFUSED, WRITE, SYNC, FOLDER], 100),
        ([NEW, WRITE, FAILED, GONE, NEW, WRITE, SYNC, FOLDER], 100),
        ([NEW, WRITE, SYNC, FOLDER_FAILED, FOLDER], 0),
        ([NEW, WRITE, SYNC, FOLDER_FAILED, REFUSED, FOLDER], 0),
        ([NEW, WRITE, SYNC, FOLDER_FAILED, "sync() = 0"], 0),
        ([NEW.replace("|O_EXCL", ""), WRITE, SYNC, FOLDER_FAILED, FOLDER], 100),  # it may be old
        ([NEW, WRITE, SYNC, FOLDER, FOLDER_FAILED], 100),
        ([NEW, WRITE, SYNC, FOLDER_FAILED, GONE, FOLDER], 0),
        ([NEW, WRITE, SYNC, FOLDER_FAILED, GONE, NEW, WRITE, SYNC, FOLDER], 100),
        (
            [NEW, WRITE, SYNC, FOLDER_FAILED, 'rename("/srv/mail/a", "/srv/mail/b") = 0', FOLDER],
            100,
        ),
        # Renamed after it was synced, or linked: the new name counts.
        ([NEW, WRITE, SYNC, FOLDER, 'rename("/srv/mail/a", "/srv/mail/b") = 0'], 0),
        ([NEW, WRITE, SYNC, 'rename("/srv/mail/a", "/srv/mail/b") = 0', FOLDER], 100),
        ([NEW, WRITE, SYNC, 'renameat(5</srv/mail>, "a", 5</srv/mail>, "b") = 0', FOLDER], 100),
        ([NEW, WRITE, SYNC, 'link("/srv/mail/a", "/srv/other/b") = 0', FOLDER], 100),
        ([NEW, WRITE, SYNC, 'rename("/srv/mail/a", "/srv/other/b") = 0', FOLDER], 0),
        # A folder that is new needs its own name made durable.
        (['mkdir("/srv/mail", 0700) = 0', NEW, WRITE, SYNC, FOLDER], 0),
        (['mkdir("/srv/mail", 0700) = 0', NEW, WRITE, SYNC, FOLDER, "fsync(6</srv>) = 0"], 100),
        # What failed changed nothing.
        ([NEW, 'write(3</srv/mail/a>, ""..., 100) = -1 ENOSPC (No space)', SYNC, FOLDER], 0),
    ],
)
def test_a_byte_survives_with_its_file_and_the_name_of_it(calls: list[str], durable: int) -> None:
    """Synced after it was written, and named by a folder that was synced after that."""
    (moment,) = _medium.moments([*calls, ACK])

    assert moment.durable == durable


def test_what_is_sent_is_counted_apart() -> None:
    """By any call that sends, and by a write to a socket."""
    calls = [
        'sendto(5<TCP:[127.0.0.1:1->127.0.0.1:2]>, ""..., 70, MSG_NOSIGNAL, NULL, 0) = 70',
        'write(5<socket:[4711]>, ""..., 30) = 30',
        ACK,
        ACK,
    ]
    first, second = _medium.moments(calls)

    assert (first.sent, first.durable) == (100, 0)
    assert second.sent == 0


def test_a_sync_that_is_asked_again_is_noticed() -> None:
    """Of a file and of a folder; and every later answer knows of the failure."""
    for failed, again, name in ((FAILED, SYNC, "a"), (FOLDER_FAILED, FOLDER, "mail")):
        first, second = _medium.moments([NEW, WRITE, failed, ACK, again, ACK])

        assert (first.failed, first.asked_again) == (name, False)
        assert (second.failed, second.asked_again) == (name, True)


def test_calls_that_another_thread_interrupted_are_put_together() -> None:
    """In the order in which they returned."""
    lines = [
        '10 write(3</srv/a>, ""..., 5 <unfinished ...>',
        "11 fsync(4</srv>) = 0",
        "10 <... write resumed>) = 5",
        '12  access("/x", F_OK) = 0',
    ]

    assert list(_joined(lines)) == [
        "fsync(4</srv>) = 0",
        'write(3</srv/a>, ""..., 5) = 5',
        'access("/x", F_OK) = 0',
    ]

"""Laws of fidelity: every byte, and no byte of a mail as a name."""

from __future__ import annotations

import base64
import gzip
import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mailarchive._model import Durability, Folder, Receipt, Rejected, Stored
from mailarchive.testing._sink_kit import (
    MARKED,
    SERIAL,
    digest_is,
    law,
    marked,
    read_back,
    receipts_of,
    stored,
    tells_nothing,
)
from mailarchive.testing._traced import Kept
from mailarchive.testing.entries import entry, mail

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mailarchive.testing._sink_kit import SinkMaker

_HEAD: Final = b"From: a@example.com\r\nSubject: odd\r\n\r\n"
_MEBI: Final = 1 << 20


def _of_length(octets: int) -> bytes:
    """Return a message of exactly so many bytes, that is odd in nothing else."""
    return _HEAD + b"x" * (octets - len(_HEAD))


ODD: Final[dict[str, bytes]] = {
    "lines that end in CRLF": _HEAD + b"one\r\ntwo\r\n",
    "a message of 0 bytes": b"",
    "a message of one byte": b"x",
    "a NUL in the body": _HEAD + b"before\0after\r\n",
    "a NUL as the first byte": b"\0" + _HEAD,
    "only NULs": bytes(1024),
    "bare LF": _HEAD.replace(b"\r\n", b"\n") + b"one\ntwo\n",
    "bare CR": _HEAD + b"one\rtwo\r",
    "CR CR LF": _HEAD + b"one\r\r\ntwo\r\r\n",
    "lines that end in every way": _HEAD + b"a\r\nb\nc\rd\r\n\ne\n\rf",
    "no final newline": _HEAD + b"the end",
    "many final newlines": _HEAD + b"the end" + b"\r\n" * 5 + b"\n" * 5,
    "nothing but newlines": b"\n\n\r\n\n",
    "a header alone": _HEAD[:-2],
    "From_ lines": _HEAD
    + b"From here\r\n>From there\r\n>>From you\r\n\r\nFrom a@b Thu Jan  1\r\n",
    "a From_ line at the top": b"From a@example.com Thu Jan  1 00:00:00 1970\n" + _HEAD,
    "From_ after a bare CR": _HEAD + b"x\rFrom here\n\n\nFrom",
    "lines that begin with a dot": _HEAD + b".\r\n..\r\n.\n...\r\nquit\r\n.",
    "every byte there is": _HEAD + bytes(range(256)) * 4,
    "invalid UTF-8": _HEAD + b"\xff\xfe\xc3\x28\xed\xa0\x80\xf5\r\n",
    "UTF-16 with a mark": _HEAD + "\ufeffgr\xfc\xdfe".encode("utf-16"),
    "8-bit letters in the header": b"Subject: gr\xfc\xdfe \xe2\x82\xac\r\n\r\n\xa0\r\n",
    "blanks at the ends of lines": _HEAD + b"one \t\r\n \r\n\t\r\n--  \r\n",
    "a Ctrl-Z and a form feed": _HEAD + b"\x1a\x0c\x1b[2J\r\n",
    "a line of 1 MiB in the header": b"X-Long: " + b"y" * _MEBI + b"\r\n" + _HEAD,
    "a line of 1 MiB in the body": _HEAD + b"z" * _MEBI,
    "what cannot be compressed": _HEAD + random.Random(1).randbytes(100_000),
    "a content length that lies": b"Content-Length: 3\r\n" + _HEAD + b"more than three",
    "headers that programs take for theirs": b"Return-Path: <a@example.com>\r\n"
    b"Bcc: b@example.com\r\nStatus: RO\r\nX-Status: A\r\nX-UID: 7\r\nX-Keywords: NonJunk\r\n"
    + _HEAD,
    "a header line that stands there twice": _HEAD[:-2] + _HEAD,
    "names of headers in any case": b"SUBJECT: x\r\nfrom: a@example.com\r\nx-mIxEd: y\r\n\r\n",
    "any blanks after a colon": b"Subject:x\r\nX-Two:  y\r\nX-Tab:\tz\r\nX-None:\r\n\r\n",
    "text around the parts": b"Content-Type: multipart/mixed; boundary=b\r\n\r\nbefore\r\n"
    b"--b\r\n\r\npart\r\n--b--\r\nafter\r\n",
    "a UTF-8 mark at the top": b"\xef\xbb\xbf" + _HEAD,
    "a UTF-16 mark at the top": b"\xff\xfe" + _HEAD,
    "a blank at the end": _HEAD + b"the end ",
    "what is an escape elsewhere": _HEAD + rb"\n \0 \\ %41 %% =3D &amp; &lt; ]]> '' $1" + b"\r\n",
    "a message that is gzip": gzip.compress(_HEAD, mtime=0),
    "a message that is zstd": b"\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00hello",
    "a message that is base64": base64.b64encode(_HEAD * 3),
    **{f"a message of {size} bytes": _of_length(size) for size in (4096, 8192, 65536, _MEBI)},
}
"""Messages that archives are known to alter, by what is odd about them."""


@law
def every_byte_comes_back(make: SinkMaker) -> str | None:
    """Messages that archives are known to alter: put one by one, then in a batch."""
    with make() as sink:
        for what, raw in ODD.items():
            receipt = stored(sink, entry(raw, key=f"odd-{next(SERIAL)}"), what)
            digest_is(receipt, raw, what)
            read_back(sink, receipt, raw, what)
        batch = [entry(raw, key=f"odd-{next(SERIAL)}") for raw in ODD.values()]
        answers = receipts_of(sink.put_many(batch))
        for (what, raw), receipt in zip(ODD.items(), answers, strict=True):
            read_back(sink, receipt, raw, f"{what}, in a batch")
        return None if sink.capabilities.reads else "it cannot be read back"


@law
def a_large_message_comes_back(make: SinkMaker, *, octets: int = 200 << 20) -> str | None:
    """A message of `octets` bytes is taken whole, or rejected whole, with a reason."""
    block = random.Random(2).randbytes(_MEBI)
    raw = b"".join((marked(0), block * (octets // _MEBI), b"the end"))
    with make() as sink:
        answer = sink.put(entry(raw, key=f"large-{next(SERIAL)}"))
        if isinstance(answer, Rejected):
            assert answer.reason, "a large message was rejected for no reason"
            tells_nothing(answer.reason, "the reason why a large message is rejected")
            return f"it rejects a message of {octets >> 20} MiB: {answer.reason}"
        read_back(sink, answer, raw, f"a message of {octets >> 20} MiB")
    return None


@law
def a_receipt_says_what_was_stored(make: SinkMaker) -> str | None:
    """It is of this sink, this entry and these bytes, and promises what the sink does."""
    with make() as sink:
        raw = mail(1, message_id=f"<{MARKED}@example.com>").replace(b"alice@", MARKED.encode())
        one = entry(raw, key=f"receipt-{MARKED}", users=(MARKED,))
        receipts = stored(sink, one), stored(sink, one)
        for receipt in receipts:
            assert receipt.sink == sink.name, "a receipt is of another sink"
            assert receipt.entry_id == one.id, "a receipt is of another entry"
            digest_is(receipt, one.raw, "a receipt")
            assert isinstance(receipt.outcome, Stored)
            assert receipt.durability >= sink.capabilities.durability, (
                "a receipt promises less than the sink does"
            )
            assert not (receipt.verified and receipt.durability == Durability.BUFFERED), (
                "what is in a buffer was verified nowhere"
            )
            _is_quiet(receipt)
        assert "@" not in sink.name, "the name of the sink holds an address"
    return _claims(receipts)


def _claims(receipts: Sequence[Receipt]) -> str | None:
    """Say what no law can see from here, and a receipt says all the same."""
    claims = []
    if any(each.durability > Durability.MEDIA for each in receipts):
        claims.append("that other machines have it too")
    if any(each.verified for each in receipts):
        claims.append("that it was read back from the medium")
    return Kept(f"claimed, not tried: {', '.join(claims)}") if claims else None


def _is_quiet(receipt: Receipt) -> None:
    """See that the receipt, which stands in logs and checkpoints, tells nobody's address."""
    assert receipt.location.isprintable(), "a location cannot be printed"
    assert MARKED not in f"{receipt.location} {receipt.sink}", (
        "a location is made of what stands in the mail"
    )


@law
def nothing_in_a_mail_names_a_place(make: SinkMaker) -> str | None:
    """Ids, subjects, folders, keys and flags made of paths lead nowhere."""
    with tempfile.TemporaryDirectory(prefix="mailarchive-outside-") as outside:
        before = _neighbours(outside)
        with make() as sink:
            for word in _bad_words(outside):
                raw = mail(next(SERIAL), message_id=word).replace(b"Message", word.encode(), 1)
                one = entry(
                    raw,
                    key=word,
                    source="kit",
                    folder=Folder(word, (word, "..", word)),
                    users=(word,),
                    flags=(word,),
                )
                receipt = stored(sink, one, "a message with odd names")
                assert _neighbours(outside) == before, "something in a mail named a file outside"
                assert word not in receipt.location, (
                    "a location is made of what stands in the mail"
                )
                read_back(sink, receipt, raw, "a message with odd names")
    return None


def _bad_words(outside: str) -> Iterable[str]:
    """Texts that a mail may hold where a careless sink makes a name of them."""
    up = "../" * 30
    yield f"{outside}/escaped"
    yield f"{up}{outside[1:]}/escaped"
    yield f"<../{Path(outside).name}-escaped@example.com>"
    yield f"{outside}/escaped\0.eml"
    yield "con.txt:stream|*?\"<>'; DROP TABLE entry; --"
    yield "x" * 300
    yield "u\u0308\u202e\U0001f600"
    yield "%s%n{0}$HOME`id`"
    yield f"\r\nInjected: {outside}"


def _neighbours(outside: str) -> frozenset[str]:
    """What stands in the folder, and beside it under its name."""
    here = Path(outside)
    beside = {each.name for each in here.parent.iterdir() if here.name in each.name}
    return frozenset({*beside, *(each.name for each in here.iterdir())})


LAWS = (
    every_byte_comes_back,
    a_large_message_comes_back,
    a_receipt_says_what_was_stored,
    nothing_in_a_mail_names_a_place,
)

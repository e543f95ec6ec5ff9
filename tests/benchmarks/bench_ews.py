"""MIME over EWS: `EwsSource` beside stock exchangelib and a bare lxml parser, pairs in one run.

    python tests/benchmarks/bench_ews.py
    python tests/benchmarks/bench_ews.py --count 2000 --rounds 5

The server is the one of the test kit, on loopback in a process of its own.  Each contender
is a process too, which asks for the same items in the same chunks and takes its own CPU time
around the reading.  Contenders take turns; printed are medians, and the medians of the ratios
within each turn.  Stock exchangelib reads fewer messages, because it takes so long.

`bare` reads the same answers with requests, feeds them to lxml's pull parser and decodes the
base64, and does nothing else.

The memory of a process that reads one message of 25 MB and holds it is told twice: all that
was resident at its peak, and the same without the pages of shared libraries, which belong to
no process (Python, OpenSSL, libxml2: about 22 MB).  Two thirds of the rest is exchangelib
and what it imports.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from binascii import a2b_base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from mailarchive import MessageRef
    from mailarchive.sources.ews import EwsSource

USER, SECRET = "alice@example.com", "secret"
OCTETS = 50 << 10
LARGE = 25_000_000
CHUNK = 20
STOCK = 36


def serve(count: int, octets: int, pipe: Connection) -> None:
    """Run a server until the pipe is closed."""
    from mailarchive.testing.ews_server import EwsServer

    line = b"0123456789abcdef" * 4 + b"\r\n"
    with EwsServer() as server:
        mailbox = server.add_mailbox(USER, password=SECRET)
        for number in range(count):
            head = b"From: a@example.com\r\nSubject: %d\r\n\r\n" % number
            mailbox.deliver(head + line * (octets // len(line)))
        pipe.send(server.url)
        pipe.recv()


def source(url: str) -> EwsSource:
    """The mailbox as the library sees it."""
    from mailarchive.auth import Password
    from mailarchive.sources.ews import EwsLimits, EwsSource

    return EwsSource(
        url,
        auth=Password(USER, SECRET),
        access="own",
        mailbox=USER,
        method="basic",
        allow_plaintext=True,
        limits=EwsLimits(items=CHUNK, chunk_octets=64 << 20),
    )


def listed(opened: EwsSource) -> list[MessageRef]:
    """Every item of the inbox."""
    return [ref for page in opened.scan(opened.folders()[0]) for ref in page.refs]


def ours(url: str, count: int) -> tuple[int, float]:
    """Read through `EwsSource`; return the octets and the CPU seconds."""
    with source(url) as opened:
        refs = listed(opened)[:count]
        began = time.process_time()
        octets = sum(len(item.raw) for item in opened.fetch(refs) if hasattr(item, "raw"))
        return octets, time.process_time() - began


def stock(url: str, count: int) -> tuple[int, float]:
    """Read through exchangelib's own GetItem, as it is shipped."""
    import exchangelib
    from exchangelib.items import Message
    from exchangelib.properties import ItemId
    from exchangelib.services import GetItem

    with source(url) as opened:
        refs = listed(opened)[:count]
    config = exchangelib.Configuration(
        service_endpoint=url,
        credentials=exchangelib.Credentials(USER, SECRET),
        auth_type=exchangelib.BASIC,
        version=exchangelib.Version(exchangelib.Build(15, 0, 1497)),
    )
    account = exchangelib.Account(
        USER, config=config, access_type=exchangelib.DELEGATE, default_timezone=exchangelib.UTC
    )
    fields = {exchangelib.fields.FieldPath(Message.get_field_by_fieldname("mime_content"))}
    began = time.process_time()
    service = GetItem(account=account, chunk_size=CHUNK)
    items = service.call([ItemId(r.key) for r in refs], additional_fields=fields, shape="IdOnly")
    octets = sum(len(item.mime_content) for item in items)
    return octets, time.process_time() - began


def bare(url: str, count: int) -> tuple[int, float]:
    """Read with requests and lxml's pull parser, and nothing else."""
    import requests
    from lxml import etree

    from mailarchive.sources._ews_requests import envelope, get_mime

    with source(url) as opened:
        refs = listed(opened)[:count]
    octets = 0
    session = requests.Session()
    session.auth = (USER, SECRET)
    session.headers["Content-Type"] = "text/xml; charset=utf-8"
    began = time.process_time()
    for start in range(0, len(refs), CHUNK):
        body = get_mime(ref.key for ref in refs[start : start + CHUNK])
        parser = etree.XMLPullParser(tag="{*}MimeContent", huge_tree=True)
        with session.post(url, data=envelope(body, "Exchange2013", None), stream=True) as answer:
            for piece in answer.iter_content(1 << 16):
                parser.feed(piece)
                for event in parser.read_events():
                    element: Any = event[1]
                    octets += len(a2b_base64(element.text or ""))
                    element.clear()
    return octets, time.process_time() - began


CONTENDERS = {"ours": ours, "stock": stock, "bare": bare}


def measured(name: str, url: str, count: int) -> dict[str, Any]:
    """Run a contender in a process of its own."""
    import subprocess

    command = [sys.executable, __file__, "--contender", name, "--url", url, "--count", str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def contend(name: str, url: str, count: int) -> None:
    """Be a contender, and print what it took."""
    octets, seconds = CONTENDERS[name](url, count)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    status = Path("/proc/self/status").read_text(encoding="ascii").split("RssFile:")[1]
    shared = int(status.split()[0]) * 1024
    rate = count / seconds if count else 0
    print(json.dumps({"rate": rate, "octets": octets, "peak": peak, "own": peak - shared}))


class Server:
    """A server in another process."""

    def __init__(self, count: int, octets: int) -> None:
        """Start it."""
        import multiprocessing

        self._pipe, theirs = multiprocessing.Pipe()
        spawn = multiprocessing.get_context("spawn")
        self._process = spawn.Process(target=serve, args=(count, octets, theirs))

    def __enter__(self) -> str:
        """Return its endpoint."""
        self._process.start()
        url: str = self._pipe.recv()
        return url

    def __exit__(self, *exc: object) -> None:
        """Stop it."""
        self._pipe.send("stop")
        self._process.join()


def rates(count: int, rounds: int) -> None:
    """Print messages a CPU second, and the ratios."""
    import statistics

    turns: list[dict[str, float]] = []
    with Server(count, OCTETS) as url:
        for _ in range(rounds):
            each = {"ours": count, "bare": count, "stock": STOCK}
            turns.append({name: measured(name, url, n)["rate"] for name, n in each.items()})
    print(f"{count} messages of {OCTETS >> 10} KiB, chunks of {CHUNK}, {rounds} rounds")
    for name in ("stock", "bare", "ours"):
        print(f"  {name:6} {statistics.median(turn[name] for turn in turns):8.0f} messages/CPU s")
    faster = statistics.median(turn["ours"] / turn["stock"] for turn in turns)
    slower = statistics.median(turn["bare"] / turn["ours"] for turn in turns)
    verdict(f"{faster:.0f} times stock exchangelib", "at least 20", fine=faster >= 20)
    verdict(f"{slower:.2f} times the CPU of a bare parser", "at most 2", fine=slower <= 2)


def memory() -> None:
    """Print the largest memory for one large message."""
    with Server(1, LARGE) as url:
        said = measured("ours", url, 1)
        floor = measured("ours", url, 0)
    print(f"one message of {said['octets'] / 1e6:.1f} MB, held whole")
    for name, each in (("before", floor), ("peak", said)):
        print(f"  {name:6} {each['peak'] / 1e6:4.0f} MB resident, {each['own'] / 1e6:4.0f} MB own")
    added = (said["own"] - floor["own"]) / said["octets"]
    verdict(f"reading it takes {added:.2f} of its size", "itself", fine=added < 1.1)
    own = said["own"] / 1e6
    verdict(f"{own:.0f} MB own", "below 80 MB", fine=own < 80)


def verdict(found: str, target: str, *, fine: bool) -> None:
    """Print whether a target is met."""
    print(f"  {found} (target: {target}): {'met' if fine else 'MISSED'}")


def main() -> None:
    """Measure, or be measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contender", choices=CONTENDERS)
    parser.add_argument("--url", default="")
    told = parser.parse_args()
    if told.contender:
        contend(told.contender, told.url, told.count)
        return
    rates(told.count, told.rounds)
    memory()


if __name__ == "__main__":
    main()

"""How close a Graph source comes to what the server's answer time allows.

Graph answers four requests of an application for one mailbox at a time, each after some
tenths of a second.  So nothing is faster than `count * latency / 4`; this prints how much
slower the source is, for several answer times, with four in flight and with one, and how
much of the time our own work takes.  Run it on its own: `python tests/benchmarks/bench_graph.py`.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from mailarchive.sources.graph import FolderChoice, GraphLimits, GraphSource
from mailarchive.testing.graph_server import GraphServer

if TYPE_CHECKING:
    from mailarchive.auth import Cloud

ANN = "ann@contoso.example"


def letters(count: int, octets: int) -> list[bytes]:
    """Return so many messages of about so many octets."""
    line = b"0123456789abcdef" * 4 + b"\r\n"
    head = b"From: a@contoso.example\r\nTo: b@contoso.example\r\nSubject: %d\r\n\r\n"
    return [head % number + line * (octets // len(line)) for number in range(count)]


def read(origin: str, count: int, in_flight: int) -> tuple[float, float]:
    """Read the mailbox and return the wall time and the CPU time of it."""
    from attrs import evolve

    from mailarchive.auth import GLOBAL

    cloud: Cloud = evolve(GLOBAL, graph=origin)
    source = GraphSource(
        ANN,
        lambda scope, refused=None: f"{scope}#1",
        cloud=cloud,
        folders=FolderChoice.only("Inbox"),
        limits=GraphLimits(in_flight=in_flight),
    )
    begun, worked = time.perf_counter(), time.process_time()
    with source:
        (inbox,) = source.folders()
        found = sum(1 for page in source.scan(inbox) for _ in source.fetch(page.refs))
    assert found == count
    return time.perf_counter() - begun, time.process_time() - worked


def serve(count: int, octets: int, latency: float) -> subprocess.Popen[str]:
    """Start a server in a process of its own, so that it takes none of our CPU time."""
    command = [sys.executable, __file__, "--serve", f"{count},{octets},{latency}"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def serving(count: int, octets: int, latency: float) -> None:
    """Serve until our input is closed."""
    with GraphServer([ANN], latency=latency) as server:
        for raw in letters(count, octets):
            server.mailbox(ANN).deliver(raw)
        print(server.cloud.graph, flush=True)
        sys.stdin.read()


def measured(count: int, octets: int, latency: float, in_flight: int) -> tuple[float, float]:
    """Measure one row."""
    server = serve(count, octets, latency)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        return read(server.stdout.readline().strip(), count, in_flight)
    finally:
        server.stdin.close()
        server.wait()
        server.stdout.close()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--octets", type=int, default=50_000)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        count, octets, latency = arguments.serve.split(",")
        serving(int(count), int(octets), float(latency))
        return
    count, octets = arguments.count, arguments.octets
    print(f"{count} messages of {octets:,} octets over Graph")
    print("  answer time  in flight  floor     took   ratio   our CPU  messages a CPU second")
    for latency, in_flight in ((0.25, 4), (0.1, 4), (0.1, 1), (0.02, 4), (0.0, 4)):
        took, cpu = measured(count, octets, latency, in_flight)
        floor = count * latency / in_flight
        ratio = f"{took / floor:6.2f}" if floor else "     -"
        print(
            f"  {latency * 1000:8.0f} ms  {in_flight:9}  {floor:5.1f} s  {took:5.1f} s"
            f"  {ratio}  {cpu:6.2f} s  {count / cpu:8.0f}"
        )
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()

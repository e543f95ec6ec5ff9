"""Every check of the project: `nox -l` is the map, and plain `nox` runs what decides."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import nox

if TYPE_CHECKING:
    from collections.abc import Iterator

nox.needs_version = ">=2024.4"
nox.options.sessions = ["lint", "architecture", "types", "tests"]
nox.options.error_on_external_run = True
nox.options.reuse_existing_virtualenvs = True

PROJECT = nox.project.load_toml("pyproject.toml")
CODE = ("mailarchive", "tests", "docs", "conftest.py", "noxfile.py")

EVERYTHING = ".[graph,oauth,objects,postgres,smtp,testing,timestamps]"
"""Ourselves with every extra that needs nothing but a wheel."""

SERVERS = {
    "/usr/sbin/dovecot": "dovecot-imapd",
    "/usr/lib/dovecot/lmtp": "dovecot-lmtpd",
    "/usr/bin/git": "git",
    "/usr/bin/java": "default-jre-headless",
    "/usr/bin/node": "nodejs",
    "/usr/bin/npm": "npm",
    "/usr/bin/openssl": "openssl",
    "/usr/bin/pg_ctlcluster": "postgresql",
    "/usr/bin/strace": "strace",
    "/usr/bin/zstd": "zstd",
    "/usr/share/davmail/davmail.jar": "davmail",
}
"""What the tests start beside Python, and the Debian package that has it."""


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group."""
    return list(nox.project.dependency_groups(PROJECT, name))


@nox.session
def lint(session: nox.Session) -> None:
    """Style, spelling, and a docstring on everything public and on every test."""
    session.install(*group("lint"))
    session.run("ruff", "check", *CODE)
    session.run("ruff", "format", "--check", *CODE)
    session.run("codespell", *CODE, "README.md", "CHANGELOG.md")
    session.run("interrogate", "mailarchive", "tests")


@nox.session
def architecture(session: nox.Session) -> None:
    """The floors of the house: who may import whom."""
    session.install(".", "import-linter>=2.3")
    session.run("lint-imports", "--no-cache")


@nox.session
def types(session: nox.Session) -> None:
    """Every type: ours strictly, and what a user sees of them."""
    session.install("-e", EVERYTHING, *group("types"), "nox")
    session.run("mypy")
    session.run("python", "tests/support/howto_code.py")
    session.run("pyright")
    session.run("pyright", "--ignoreexternal", "--verifytypes", "mailarchive")


@nox.session
def tests(session: nox.Session) -> None:
    """All tests against real servers, with branch coverage, on the built wheel."""
    servers(session)
    session.install(EVERYTHING, *group("tests"))
    with coverage(session):
        session.run(
            "coverage",
            "run",
            str(Path(session.bin, "pytest")),  # not -m, which would put the source tree first
            "-n",
            "2",
            "--dist",
            "loadfile",
            "-p",
            "no:cacheprovider",
            *session.posargs,
        )


@contextlib.contextmanager
def coverage(session: nox.Session) -> Iterator[None]:
    """Measure branches, of worker processes too; a whole run must reach the bound."""
    session.run("coverage", "erase")
    yield
    for file in Path().glob(".coverage.*"):
        if not _is_sound(file):
            file.unlink()  # of a process that a test killed while it wrote
    session.run("coverage", "combine", "--quiet")
    if not session.posargs:
        session.run("coverage", "report", "--fail-under=95")


def _is_sound(file: Path) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(file)) as data:
            return data.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    except sqlite3.Error:
        return False


def servers(session: nox.Session) -> None:
    """Install the servers that the tests start, or stop with the command that would.

    Cyrus cannot be installed beside Dovecot: the tests download and unpack it, which needs
    an up-to-date list of packages and no privileges.
    """
    missing = sorted({package for file, package in SERVERS.items() if not Path(file).exists()})
    if not missing and list(Path(".servers").glob("cyrus-imapd_*.deb")):
        return
    command = f"apt-get install -y --no-install-recommends {' '.join(missing)}"
    able = os.geteuid() == 0 and shutil.which("apt-get") is not None
    if missing and not able:
        session.error(f"servers are missing; as root: apt-get update && {command}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    if able:
        session.run("apt-get", "update", "-qq", external=True, env=quiet)
    if missing:
        with no_daemons():
            session.run(*command.split(), "-qq", external=True, env=quiet)


@contextlib.contextmanager
def no_daemons() -> Iterator[None]:
    """Keep a package from starting its daemon: the tests start their own, on loopback."""
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            policy.unlink()


@nox.session(default=False)
def lowest(session: nox.Session) -> None:
    """The tests with the oldest dependencies that pyproject.toml allows."""
    servers(session)
    oldest = [
        requirement.replace(">=", "==").split(",")[0] + (";" + mark if mark else "")
        for requirement, _, mark in (
            each.partition(";") for each in PROJECT["project"]["dependencies"]
        )
    ]
    session.install(EVERYTHING, *group("tests"), *oldest)
    session.run(
        "pytest", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider", *session.posargs
    )


@nox.session(default=False)
def crash(session: nox.Session) -> None:
    """Every fault at every system call, and every loss of power; takes half an hour."""
    servers(session)
    session.install(EVERYTHING, *group("tests"))
    session.run(
        *("pytest", "-p", "no:cacheprovider", "-n", "2", "-o", "junit_family=xunit1"),
        *("--junitxml", str(Path(session.create_tmp()) / "crash.xml"), "tests/crash"),
        *session.posargs,
        env={"CRASH": "all"},
    )


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Coverage-guided fuzzing of the journal decoder; `-- 600` runs ten minutes."""
    session.install(".", *group("fuzz"))
    seconds = session.posargs[0] if session.posargs else "60"
    corpus = Path(session.create_tmp()) / "corpus"
    corpus.mkdir(exist_ok=True)
    session.run(
        "python",
        "tests/fuzz/fuzz_journal.py",
        seconds,
        str(corpus),
    )


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """The benchmarks, each a table of ratios measured in one run."""
    session.install(EVERYTHING)
    names = session.posargs or sorted(
        str(each) for each in Path("tests/benchmarks").glob("bench_*.py")
    )
    for name in names:
        session.run("python", name)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """The documentation as pages."""
    session.install(".", *group("docs"))
    session.run("sphinx-build", "-W", "-b", "html", "docs", "docs/_build/html")

"""`mailarchive seal`, `verify`, `prove`, `check-proof`, `repair`, `rebuild`: what can be shown."""

from __future__ import annotations

import getpass
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import asdict, frozen

from mailarchive import _durable
from mailarchive._bounds import PAUSE
from mailarchive._cli import FAILED, OK, _vaults
from mailarchive._cli._places import check_file, check_folder
from mailarchive._cli._text import columns, counted, safe
from mailarchive._cli.reading import found, verified
from mailarchive._model import Digest, UserId
from mailarchive.errors import ConfigurationError, StateError
from mailarchive.vault import FileSigner, InclusionProof, LogCheckpoint, Vault, VerifierKey
from mailarchive.vault.anchors import FileAnchor, GitAnchor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailarchive._cli.reading import Who
    from mailarchive.quarantine import HeldFault
    from mailarchive.vault import RepairPlan, VerifyReport
    from mailarchive.vault.anchors import Anchor

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_TIME = re.compile(r"([0-9]{1,6})([smhd])\Z")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"a file cannot be read: {type(error).__name__}", suggestions=["check its path"]
        ) from error


def _write(path: Path, data: bytes) -> None:
    try:
        _durable.write_file(path.absolute(), data)
    except OSError as error:
        raise StateError(
            f"a file cannot be written: {type(error).__name__}",
            suggestions=["give a path in a folder that this user may write to, with room"],
        ) from error


@frozen
class Against:
    """What was kept elsewhere: checkpoints, and the verifier key or a file that holds it."""

    files: tuple[Path, ...] = ()
    key: str | None = None

    def checkpoints(self) -> list[LogCheckpoint]:
        """Return the checkpoints; raises `ConfigurationError`."""
        return [LogCheckpoint.parse(_read(path)) for path in self.files]

    def verifier(self) -> VerifierKey | None:
        """Return the key; raises `ConfigurationError`."""
        if self.key is None:
            return None
        given = "+" in self.key or not Path(self.key).exists()
        text = self.key if given else _read(Path(self.key)).decode("utf-8", "replace")
        return VerifierKey.parse(text)


# -- verify -------------------------------------------------------------------------------


def verify(
    path: Path,
    level: str | None,
    *,
    against: Against,
    budget: str | None = None,
    state: Path | None = None,
    as_json: bool = False,
) -> int:
    """Check a vault and print what was found; exit 1 where anything is wrong."""
    level = level or ("log" if against.files or against.key else "stored")
    limit, note = _limit(budget), state or path / "verify.json"
    if limit is not None:
        check_file(note)
    with _vaults.opened(path, create=False, read_only=True) as vault:
        report = vault.verify(
            level,
            checkpoints=against.checkpoints(),
            key=against.verifier(),
            budget=limit,
            resume=None if limit is None else _resume(note, level),
        )
    if limit is not None:
        _write(note, json.dumps({"level": level, "resume": report.resume}).encode() + b"\n")
    held = _quarantine(path)
    whole = report.ok and not (held and held.faults)
    if as_json:
        tree = report.to_dict() | {"ok": whole, "quarantine": held and asdict(held)}
        print(json.dumps(tree, indent=2))
    else:
        print("\n".join([said(report), *(held.lines() if held else ())]))
    return OK if whole else FAILED


@frozen
class _Held:
    """What was found in the quarantine; `count` is `None` where there were no keys to it."""

    count: int | None
    faults: tuple[HeldFault, ...] = ()

    def lines(self) -> Iterator[str]:
        """Yield it in words."""
        if self.count is None:
            yield "Quarantine: encrypted; not looked at without --key-file"
            return
        verdict = f"{counted(len(self.faults), 'finding')}:" if self.faults else "whole"
        yield f"Quarantine: {counted(self.count, 'message')} held: {verdict}"
        rows = [(each.kind, each.id[:12], safe(each.words)) for each in self.faults]
        if rows:
            yield columns(rows)


def _quarantine(path: Path) -> _Held | None:
    """Look at what is held beside the mail; `None` where nothing ever was."""
    folder = _vaults.quarantine_of(path)
    if _vaults.named_keys() is None and folder.is_encrypted:
        return _Held(None)
    held, faults = folder.list(), folder.verify()
    return _Held(len(held), faults) if held or faults else None


def said(report: VerifyReport) -> str:
    """Return what was looked at and what was found, in words."""
    lines = [verified(report)]
    if report.level == "log":
        lines.append(f"  {report.sealed:,} of {report.leaves:,} lines are under a checkpoint")
    if not report.complete:
        lines.append("  time was up: run it again to go on from there")
    return "\n".join(lines)


def _limit(budget: str | None) -> timedelta | None:
    if budget is None:
        return None
    found = _TIME.match(budget)
    seconds = 0 if found is None else int(found[1]) * _UNITS[found[2]]
    if found is None or seconds not in PAUSE:
        raise ConfigurationError(
            "a budget is a number and s, m, h or d, such as 30m, and no more than a year"
        )
    return timedelta(seconds=seconds)


def _resume(note: Path, level: str) -> str | None:
    """Where the last call at this level ended; the beginning where nobody knows."""
    try:
        tree = json.loads(note.read_bytes())
        found = tree["resume"] if tree["level"] == level else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


# -- seal ---------------------------------------------------------------------------------


@frozen
class Places:
    """Where a checkpoint is left, beside the vault and the signer."""

    files: tuple[Path, ...] = ()
    repositories: tuple[Path, ...] = ()
    authorities: tuple[str, ...] = ()
    roots: Path | None = None

    def anchors(self) -> dict[str, Anchor]:
        """Return the anchors, and how each is shown; raises `ConfigurationError`.

        Their names follow from the places, so that another place is another anchor.
        """
        made: dict[str, Anchor] = {}
        for folder in self.files:
            made[f"file {folder}"] = FileAnchor(folder, name=_named("file", folder.resolve()))
        for folder in self.repositories:
            made[f"git {folder}"] = GitAnchor(folder, name=_named("git", folder.resolve()))
        return {**made, **(self._stamps() if self.authorities else {})}

    def _stamps(self) -> dict[str, Anchor]:
        try:
            from mailarchive.vault.timestamps import TimestampAnchor
        except ImportError as error:
            raise ConfigurationError(str(error)) from error
        roots = None if self.roots is None else _read(self.roots)
        return {
            f"time-stamp {url}": TimestampAnchor(url, roots=roots, name=_named("rfc3161", url))
            for url in self.authorities
        }


def _named(kind: str, place: object) -> str:
    return f"{kind}-{Digest.of(str(place).encode('utf-8', 'surrogatepass')).hex[:12]}"


def seal(path: Path, folder: Path, out: Path | None, places: Places) -> int:
    """Sign for what is in a vault; exit 1 where an anchor failed."""
    if out is not None:
        check_file(out)
    check_folder(folder, "the signer's folder")
    known = folder.exists()
    signer, anchors = FileSigner(folder), places.anchors()
    with _vaults.opened(path, create=False) as vault:
        made = vault.seal(signer, anchors.values())
        key = signer.verifier(vault.origin)
    print(f"Sealed {made.checkpoint.size:,} lines, {made.added:,} of them new.")
    if not known:
        print("The signing key is new: it knows of no earlier seal. Keep its folder safe.")
    rows = [("root", made.checkpoint.root.hex()), ("verifier key", str(key))]
    for shown, each in zip(anchors, made.anchored, strict=True):
        rows.append((safe(shown), safe(each.failure or "has it")))
    print(columns(rows))
    if out is not None:  # last: the key of a new signer is shown whatever becomes of it
        _write(out, made.checkpoint.to_bytes())
    elif not anchors:
        print("Keep a copy elsewhere (--out, --anchor-...): only that shows a later change.")
    return OK if all(each.ok for each in made.anchored) else FAILED


# -- prove --------------------------------------------------------------------------------


def prove(path: Path, who: Who, key: str, copy: int, out: Path | None) -> int:
    """Print or write the proof that one message is in the log."""
    if out is not None:
        check_file(out)
    with _vaults.opened(path, create=False, read_only=who.user is not None) as vault:
        proof = _for_user(vault, who, key, copy) if who.user else _for_auditor(vault, who, key)
    if out is None:
        print(proof.text(), end="")
    else:
        _write(out, proof.text().encode())
        size = proof.checkpoint.size
        print(f"Line {proof.index:,} of {size:,} is this message; the proof is written.")
    return OK


def _for_user(vault: Vault, who: Who, key: str, copy: int) -> InclusionProof:
    return found(vault.view(UserId(who.user or "")), key, copy).proof(copy - 1)


def _for_auditor(vault: Vault, who: Who, key: str) -> InclusionProof:
    """`key` is the id of an entry, or the beginning of one, as an auditor's list shows it."""
    auditor = vault.auditor(who.auditor or "", who.reason or "")
    found = [each for each in auditor.entries() if each.id.hex.startswith(key.lower())]
    if len(found) != 1:
        raise StateError(
            f"{counted(len(found), 'entry') if found else 'no entry'} of that id",
            suggestions=["give more digits of the id"],
        )
    return found[0].proof()


def check_proof(path: Path, message: Path, against: Against) -> int:
    """Check a proof of a message, against what was kept elsewhere; exit 1 if it fails."""
    proof = InclusionProof.parse(_read(path).decode("utf-8", "replace"))
    data, kept = _read(message), against.checkpoints()
    proof.check(data, key=against.verifier(), checkpoint=kept[0] if kept else None)
    print(f"This message is line {proof.index:,} of {safe(proof.checkpoint.origin)}.")
    if not kept and against.key is None:
        print("The proof agrees with itself; only --checkpoint or --key shows whose log it is.")
    digest = Digest.of(data)
    print(columns([("message", str(digest)), ("lines", f"{proof.checkpoint.size:,}")]))
    return OK


# -- repair -------------------------------------------------------------------------------


@frozen
class Repairer:
    """Who repairs, and why; both are kept in the archive."""

    actor: str | None
    reason: str

    def name(self) -> str:
        """Return the name that was given, or this user's."""
        if self.actor is not None:
            return self.actor
        try:
            return getpass.getuser()
        except (OSError, KeyError) as error:
            raise ConfigurationError("this user has no name: give --actor") from error


@frozen
class Trust:
    """What of a replica is believed: what goes on behind, and what this key has signed."""

    newer: bool = False
    key: str | None = None


def repair(path: Path, source: Path, who: Repairer, trust: Trust, *, apply: bool) -> int:
    """Show what can be restored from another copy, and restore it if told to."""
    replica = _vaults.opened(source, create=False, read_only=True)
    key = Against((), trust.key).verifier()
    with _vaults.opened(path, create=False, read_only=not apply) as vault, replica:
        plan = vault.plan_repair(replica, newer=trust.newer, key=key)
        print("\n".join(map(safe, plan.lines())))
        if plan and apply:
            vault.repair(plan, replica, actor=who.name(), reason=who.reason)
            _say_restored(plan)
    if plan and not apply:
        print("Nothing is done yet: add --apply to do it.")
    if plan.newer:
        print("Nothing here tells whether those are genuine: --newer takes them on trust.")
    if plan.lost_checkpoints and key is None:
        print("Nothing here tells whether a checkpoint is genuine: give --key.")
    left = not plan.is_whole or (plan and not apply)
    return FAILED if left else OK


def _say_restored(plan: RepairPlan) -> None:
    if plan.packs:
        print(f"{counted(len(plan.packs), 'pack')} restored; what was damaged is kept.")
    if plan.checkpoints:
        print(f"{counted(len(plan.checkpoints), 'checkpoint')} restored.")


def rebuild(path: Path, *, without_missing: bool) -> int:
    """Make the index, and the tiles of the log, anew from the packs."""
    vault = _vaults.opened(path, create=False)
    vault.rebuild(without_missing=without_missing)
    with vault:
        count = len(vault.checkpoints())
    print(f"Made anew from the packs; {counted(count, 'checkpoint')} kept.")
    return OK

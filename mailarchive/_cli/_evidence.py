"""What the commands about evidence take: seal, verify, prove, check-proof, repair, rebuild."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailarchive._cli import _filters

if TYPE_CHECKING:
    import argparse

    from mailarchive._cli import Commands


def add(commands: Commands) -> None:
    """Add the commands to the parser."""
    _add_verify(commands)
    _add_seal(commands)
    _add_prove(commands)
    _add_check_proof(commands)
    _add_repair(commands)
    _add_rebuild(commands)


def _verify(arguments: argparse.Namespace) -> int:
    from mailarchive._cli import evidence

    return evidence.verify(
        arguments.vault,
        arguments.level,
        against=evidence.Against(tuple(arguments.checkpoint), arguments.key),
        budget=arguments.budget,
        state=arguments.state,
        as_json=arguments.json,
    )


def _add_verify(commands: Commands) -> None:
    add = commands.add_parser("verify", help="check that an archive is whole and unaltered")
    add.add_argument("vault", type=_filters.place, metavar="VAULT")
    add.add_argument(
        "--level",
        choices=["quick", "stored", "content", "log"],
        help="quick: headers, and which batches the index has; stored: every stored byte (the"
        " default); content: every message unpacked, and every row of the index; log: as stored,"
        " every row of the index, and all of it against the log and its checkpoints",
    )
    _add_against(add, "+ ")
    add.add_argument(
        "--budget", metavar="TIME", help="look at stored bytes for so long, such as 30s, 15m, 1h"
    )
    add.add_argument(
        "--state",
        type=_filters.place,
        metavar="FILE",
        help="where to note how far --budget came (default: verify.json in the vault)",
    )
    add.add_argument("--json", action="store_true", help="the report as JSON")
    add.set_defaults(command=_verify)


def _add_against(add: argparse.ArgumentParser, many: str = "") -> None:
    add.add_argument(
        "--checkpoint",
        type=_filters.place,
        metavar="FILE",
        action="append" if many else "store",
        default=[] if many else None,
        help="a checkpoint that was kept elsewhere" + ("; may be repeated" if many else ""),
    )
    add.add_argument("--key", metavar="KEY", help="the verifier key, or a file that holds it")


def _seal(arguments: argparse.Namespace) -> int:
    from mailarchive._cli import evidence

    places = evidence.Places(
        files=tuple(arguments.anchor_file),
        repositories=tuple(arguments.anchor_git),
        authorities=tuple(arguments.anchor_tsa),
        roots=arguments.tsa_roots,
    )
    return evidence.seal(arguments.vault, arguments.signer, arguments.out, places)


def _add_seal(commands: Commands) -> None:
    add = commands.add_parser("seal", help="sign for everything that is in an archive now")
    add.add_argument("vault", type=_filters.place, metavar="VAULT")
    add.add_argument(
        "--signer",
        type=_filters.place,
        required=True,
        metavar="FOLDER",
        help="where the key is, outside of the archive; made when it is missing",
    )
    add.add_argument(
        "--out", type=_filters.place, metavar="FILE", help="write the checkpoint here too"
    )
    for name, metavar, words in (
        ("file", "FOLDER", "leave a copy of the checkpoint in a folder"),
        ("git", "REPOSITORY", "commit the checkpoint in a git repository"),
        ("tsa", "URL", "get a time-stamp of the checkpoint (RFC 3161)"),
    ):
        kind = str if name == "tsa" else _filters.place
        add.add_argument(
            f"--anchor-{name}",
            type=kind,
            metavar=metavar,
            action="append",
            default=[],
            help=f"{words}; may be repeated",
        )
    add.add_argument(
        "--tsa-roots",
        type=_filters.place,
        metavar="PEM",
        help="take only time-stamps under these roots",
    )
    add.set_defaults(command=_seal)


def _prove(arguments: argparse.Namespace) -> int:
    from mailarchive._cli import evidence, reading

    who = reading.Who(arguments.user, arguments.auditor, arguments.reason)
    return evidence.prove(arguments.vault, who, arguments.key, arguments.copy, arguments.out)


def _add_prove(commands: Commands) -> None:
    add = commands.add_parser("prove", help="print the proof that one message is in the log")
    add.add_argument("vault", type=_filters.place, metavar="VAULT")
    add.add_argument("key", metavar="KEY", help="of the message, as `show` lists it")
    who = add.add_mutually_exclusive_group(required=True)
    who.add_argument(
        "--user",
        type=_filters.user,
        metavar="U",
        help="prove what this user sees, and show no more",
    )
    who.add_argument("--auditor", metavar="NAME", help="prove and show all; this is put on record")
    add.add_argument("--reason", metavar="WHY", help="why, with --auditor")
    add.add_argument("--copy", type=int, default=1, metavar="N", help="which copy (default: 1)")
    add.add_argument(
        "--out", type=_filters.place, metavar="FILE", help="write it here, not to the terminal"
    )
    add.set_defaults(command=_prove)


def _check_proof(arguments: argparse.Namespace) -> int:
    from mailarchive._cli import evidence

    kept = [] if arguments.checkpoint is None else [arguments.checkpoint]
    against = evidence.Against(tuple(kept), arguments.key)
    return evidence.check_proof(arguments.proof, arguments.message, against)


def _add_check_proof(commands: Commands) -> None:
    add = commands.add_parser("check-proof", help="check a proof, without the archive")
    add.add_argument("proof", type=_filters.place, metavar="PROOF")
    add.add_argument("message", type=_filters.place, metavar="MESSAGE.EML")
    _add_against(add)
    add.set_defaults(command=_check_proof)


def _repair(arguments: argparse.Namespace) -> int:
    from mailarchive._cli import evidence

    who = evidence.Repairer(arguments.actor, arguments.reason)
    trust = evidence.Trust(arguments.newer, arguments.key)
    return evidence.repair(arguments.vault, arguments.source, who, trust, apply=arguments.apply)


_SIGNED = "take from REPLICA also checkpoints that are damaged here and signed by this key"
_NEWER = "take from REPLICA, on trust, also what goes on behind all that VAULT knows of"


def _add_repair(commands: Commands) -> None:
    add = commands.add_parser("repair", help="restore damaged packs from another copy")
    add.add_argument("vault", type=_filters.place, metavar="VAULT")
    add.add_argument(
        "--from", dest="source", type=_filters.place, required=True, metavar="REPLICA"
    )
    add.add_argument("--apply", action="store_true", help="do it; without, only the plan is shown")
    add.add_argument("--newer", action="store_true", help=_NEWER)
    add.add_argument("--key", metavar="KEY", help=_SIGNED)
    add.add_argument("--actor", metavar="NAME", help="who repairs (default: this user)")
    add.add_argument("--reason", default="damage was found", metavar="WHY", help="why; on record")
    add.set_defaults(command=_repair)


def _rebuild(arguments: argparse.Namespace) -> int:
    from mailarchive._cli import evidence

    return evidence.rebuild(arguments.vault, without_missing=arguments.without_missing)


def _add_rebuild(commands: Commands) -> None:
    add = commands.add_parser("rebuild", help="make index and tiles anew from the packs alone")
    add.add_argument("vault", type=_filters.place, metavar="VAULT")
    add.add_argument(
        "--without-missing",
        action="store_true",
        help="forget packs that are missing or end too early, which only the index still knows",
    )
    add.set_defaults(command=_rebuild)

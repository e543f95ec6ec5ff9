"""From a TOML file to an archiver: every setting of a job, and nothing secret in it.

Paths are relative to the file.  A secret is never inline: it is named by a file or by a
command that prints it, and read when the source connects.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from mailarchive import decoding
from mailarchive._cli import _sinks, _toml, _vaults
from mailarchive._cli._organisation import Organisation
from mailarchive._cli._places import Place
from mailarchive._model import Address, UserId
from mailarchive.abc import Intake, Source
from mailarchive.archiver import Archiver, Removal
from mailarchive.attribution import (
    CatchAll,
    HoldUnowned,
    KeepUnowned,
    all_participants,
    mailbox_owner,
    recipients_only,
)
from mailarchive.errors import ConfigurationError
from mailarchive.journal.trust import Action, Policy
from mailarchive.receiver import Receiver
from mailarchive.retry import RetryingSource
from mailarchive.sinks import Tee
from mailarchive.state import JobLock, SqliteCheckpoints
from mailarchive.users import DirectoryMap
from mailarchive.users.csv import CsvDirectory
from mailarchive.vault import FileKeys, Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mailarchive._cli._toml import Table
    from mailarchive.abc import Decoder, Directory, Sink
    from mailarchive.attribution import Attribution, Unknown
    from mailarchive.quarantine import QuarantineFolder
    from mailarchive.vault import KeyProvider


@frozen
class Job:
    """Everything that a TOML file says, ready to be run."""

    source: Source | Intake | Organisation
    decoder: Decoder
    users: DirectoryMap
    directory: Directory
    """Where the users are listed."""
    attribution: Attribution
    unknown: Unknown
    removal: Removal
    vault: Path = field(repr=False)
    """The vault's folder; without a vault the one for state and quarantine."""
    place: Place = field(repr=False)
    """The same, as what must be there or can be made."""
    decided: bool
    """Whether the file says if a new vault is encrypted; so it does where there is none."""
    keys: KeyProvider | None = field(repr=False)
    archive: Callable[[], Sink] = field(repr=False)
    """Makes the archive, not yet opened: the vault, another sink, or both in a `Tee`."""
    quarantine: QuarantineFolder = field(repr=False)
    lock: JobLock = field(repr=False)
    state: SqliteCheckpoints = field(repr=False)
    local: bool
    """Whether mail is read from files here, rather than from a server."""
    says_unknown: bool
    """Whether the file says what becomes of mail that nobody known owns."""
    checks: Sequence[Callable[[], object]] = field(repr=False)
    """What raises where a file that is named cannot be read."""

    def archiver(self, archive: Sink, source: Source | None = None, **settings: Any) -> Archiver:
        """Return the archiver into an archive, with these settings beside the file's.

        `source` is one of an organisation's.
        """
        chosen = source or self.source
        if isinstance(chosen, Intake):
            raise ConfigurationError(
                '[source] kind = "smtp" receives: there is nothing to run',
                suggestions=["start it with: mailarchive receive ARCHIVE.TOML"],
            )
        assert isinstance(chosen, Source), "its caller asks for each mailbox of an organisation"
        return Archiver(
            chosen if source is None else RetryingSource(chosen),
            archive,
            self.users,
            decoder=self.decoder,
            attribution=self.attribution,
            unknown=self.unknown,
            removal=self.removal,
            state=self.state,
            quarantine=self.quarantine,
            **settings,
        )

    def refuse_undecided(self) -> None:
        """Raise where a vault would be made and the file does not say whether encrypted."""
        if not self.decided and _vaults.is_new(self.vault):
            raise ConfigurationError(
                "the vault would be a new one, and nothing says whether it is to be encrypted",
                suggestions=[
                    'add encryption = "none" to [vault]: whoever has the folder can read the mail',
                    'or encryption = { key_file = "FILE" }, made with: mailarchive new-key FILE',
                    "it cannot be changed later",
                ],
            )

    def announce(self) -> None:
        """Say that a vault is about to be made, and what it takes to read an encrypted one."""
        if not self.place.vault or not _vaults.is_new(self.vault):
            return
        print(_vaults.new_at(self.vault), file=sys.stderr)
        if self.keys is not None:
            print(_vaults.IS_ENCRYPTED, file=sys.stderr)

    @property
    def organisation(self) -> Organisation:
        """The mailboxes of an organisation, where the file names more than one."""
        assert not isinstance(self.source, Source | Intake), "its caller has looked"
        return self.source

    def has(self, source: str) -> bool:
        """Return whether checkpoints under this name are the job's."""
        if isinstance(self.source, Source | Intake):
            return source == self.source.name
        return source.startswith(self.source.names)

    def receiver(self, archive: Sink, **settings: Any) -> Receiver:
        """Return the receiver into an open archive, with these settings beside the file's."""
        assert isinstance(self.source, Intake), "its caller has looked"
        return Receiver(
            self.source,
            archive,
            self.users,
            decoder=self.decoder,
            attribution=self.attribution,
            unknown=self.unknown,
            quarantine=self.quarantine,
            **settings,
        )


def load(path: Path) -> Job:
    """Return the job that the file describes; raises `ConfigurationError`."""
    return build(_toml.read(path), path.resolve().parent)


def build(top: Table, here: Path) -> Job:
    """Return the job that the table describes, with paths relative to `here`."""
    vault, keys, archive = _archive(top, here)
    source_table = top.table("source")
    if not source_table and not top.misspelt("source"):
        raise top.wrong("there is no [source]", 'say in it where the mail is: kind = "imap", ...')
    people = source_table.get("kind", str) == "graph" or "mailboxes" in source_table
    usual = "ordinary" if people else "journal"
    decoder_table = top.table("decoder")
    journal = decoder_table.choice("kind", ("journal", "ordinary"), usual) == "journal"
    decoder = _decoder(decoder_table, journal=journal)
    source, directory = _source(source_table, here, vault, journal=journal)
    users_table = top.table("users")
    setting = "[vault] path" if "vault" in top else "[sink] state"
    locks = not isinstance(source, Intake)
    place = Place(vault, setting, vault="vault" in top, locks=locks)
    attribution = _attribution(users_table, source, journal=journal)
    unknown = _unknown(users_table)
    known = _directory(users_table, here, directory)
    source = source.of(known) if isinstance(source, Organisation) else source
    users = DirectoryMap(known)
    users_table.done()
    removal_table = top.table("removal")
    remove = removal_table.choice("when", ("never", "archived"), "never") == "archived"
    if remove and isinstance(source, Intake):
        raise removal_table.wrong("what is received is nowhere to be removed", "leave when out")
    if not remove and "remove_to" in source_table:
        raise removal_table.wrong(
            "remove_to is set, and nothing is removed", 'set when = "archived", or drop remove_to'
        )
    removal_table.done()
    top.done()
    return Job(
        source=RetryingSource(source) if isinstance(source, Source) else source,
        decoder=decoder,
        users=users,
        directory=known,
        attribution=attribution,
        unknown=unknown,
        removal=Removal.when_archived() if remove else Removal.never(),
        vault=vault,
        place=place,
        decided="vault" not in top or "encryption" in top.table("vault"),
        keys=keys,
        archive=archive,
        quarantine=_vaults.quarantine_of(vault, keys),
        lock=JobLock(vault.with_name(f"{vault.name}.lock")),
        state=SqliteCheckpoints(vault / "state.db"),
        local=source_table.raw("kind") in _LOCAL,
        says_unknown="unknown" in users_table,
        checks=tuple(top.checks),
    )


def _archive(top: Table, here: Path) -> tuple[Path, KeyProvider | None, Callable[[], Sink]]:
    """Return the folder for state and quarantine, the keys, and what makes the archive."""
    vault_table = top.table("vault")
    if "sink" not in top:
        return _vault(vault_table, here)
    table = top.table("sink")
    other = _sinks.sink(table, here)
    if "vault" not in top:
        state = here / table.need("state", str)
        table.done()
        return state, None, other
    if "state" in table:
        raise table.wrong("state is kept in the vault", "remove it")
    table.done()
    path, keys, vault = _vault(vault_table, here)
    return path, keys, lambda: Tee(vault=vault(), sink=other())


def _vault(table: Table, here: Path) -> tuple[Path, KeyProvider | None, Callable[[], Vault]]:
    """Return the vault's folder, its keys, and what opens it.

    Where the file says nothing of encryption the vault is opened, and never made.
    """
    vault = here / table.need("path", str)
    chosen = table.raw("encryption")
    keys = _vaults.named_keys() if chosen is None else None
    if isinstance(chosen, dict):
        encryption = table.table("encryption")
        keys = FileKeys(here / encryption.need("key_file", str))
        encryption.done()
        if keys.path.resolve().is_relative_to(vault.resolve()):
            raise table.wrong("the key file is inside the vault", "keep it somewhere else")
        keys.check()  # before a vault is made that nothing can be put into
    elif chosen not in {None, "none"}:
        raise table.wrong(
            'encryption must be "none" or a table',
            'write encryption = "none", or encryption = { key_file = "..." }',
        )
    volume_size = table.get("volume_size", int)
    if volume_size is not None and volume_size < 1:
        raise table.wrong("volume_size must be at least 1", "say how many bytes a volume may have")
    table.done()
    opened = partial(Vault, vault, keys=keys, create=chosen is not None)
    return vault, keys, opened if volume_size is None else partial(opened, volume_size=volume_size)


def _decoder(table: Table, *, journal: bool) -> Decoder:
    if not journal:
        table.done()
        return decoding.ordinary
    otherwise = table.choice("otherwise", [each.value for each in decoding.Otherwise], "archive")
    policy = _policy(table.table("trust")) if "trust" in table else None
    table.done()
    return decoding.JournalMailbox(decoding.Otherwise(otherwise), policy=policy)


def _policy(table: Table) -> Policy:
    """Return what a report must show to be believed."""
    hops = table.get("hops", int)
    if hops is not None and hops < 1:
        raise table.wrong("hops must be at least 1", "count the Received lines of your servers")
    actions = [each.value for each in Action]
    policy = Policy(
        trusted_channel=table.get("trusted_channel", bool) or False,
        return_paths=frozenset(table.texts("return_paths") or ()),
        authserv_id=table.get("authserv_id", str),
        own_hosts=frozenset(table.texts("own_hosts") or ()),
        hops=hops or 1,
        strips_results=table.get("strips_results", bool) or False,
        tenants=frozenset(table.texts("tenants") or ()),
        on_mismatch=Action(table.choice("on_mismatch", actions, Action.QUARANTINE)),
        on_unproven=Action(table.choice("on_unproven", actions, Action.ACCEPT)),
    )
    table.done()
    return policy


def _directory(table: Table, here: Path, tenant: Directory | None) -> Directory:
    """The users in a file, or in the directory that the source's tenant has."""
    if table.choice("directory", ("csv", "graph"), "csv") == "csv":
        return CsvDirectory(here / table.need("csv", str))
    if tenant is None:
        raise table.wrong(
            'directory = "graph" is for mail out of Microsoft 365',
            'set kind = "graph" in [source], or name a file with csv',
        )
    return tenant


def _attribution(
    table: Table, source: Source | Intake | Organisation, *, journal: bool
) -> Attribution:
    """A journal names the participants; a mailbox belongs to whoever has it."""
    choices: dict[str, Attribution] = {
        "participants": all_participants,
        "recipients": recipients_only,
        "mailbox": mailbox_owner,
    }
    name = table.choice("owners", choices, "participants" if journal else "mailbox")
    one = source if isinstance(source, Source | Intake) else None
    if name == "mailbox" and one is not None and one.mailbox is None:
        raise table.wrong(
            'owners = "mailbox" needs to know whose mailbox it is',
            'add mailbox = "somebody@example.com" to [source]',
            'or address = "somebody@example.com" where an IMAP server knows it by another name',
        )
    return choices[name]


def _unknown(table: Table) -> Unknown:
    value = table.raw("unknown")
    match value:
        case None | "keep":
            return KeepUnowned()
        case "quarantine":
            return HoldUnowned()
        case {"catch_all": str(user), **rest} if user and not rest:
            return CatchAll(UserId(user))
        case _:
            raise table.wrong(
                'unknown must be "keep", "quarantine" or { catch_all = "a user id" }'
            )


def _source(
    table: Table, here: Path, vault: Path, *, journal: bool
) -> tuple[Source | Intake | Organisation, Directory | None]:
    """Return what mail comes from, and the directory of users that comes with it."""
    kind = table.choice("kind", ("imap", "graph", "ews", "smtp", "maildir", "eml", "mbox"), "imap")
    source: Source | Intake | Organisation
    directory: Directory | None = None
    if kind == "graph":
        from mailarchive._cli._graph import graph

        source, directory = graph(table, here, vault, journal=journal)
    else:
        source = _of_kind(kind, table, here, journal=journal)
    table.done()
    return source, directory


_LOCAL = ("maildir", "eml", "mbox")


def _of_kind(
    kind: str, table: Table, here: Path, *, journal: bool
) -> Source | Intake | Organisation:
    """Each kind loads what it needs, and no other's."""
    if kind == "imap":
        from mailarchive._cli._imap import imap

        return imap(table, here, journal=journal)
    if kind == "ews":
        from mailarchive._cli._ews import ews

        return ews(table, here, journal=journal)
    if kind == "smtp":
        from mailarchive._cli._smtp import smtp

        return smtp(table, here)
    return _files(kind, table, here)


def _files(kind: str, table: Table, here: Path) -> Source:
    from mailarchive._cli._limits import limits
    from mailarchive.sources.files import EmlFolder, FileLimits, Maildir, Mbox, MboxVariant

    path, name = here / table.need("path", str), table.get("name", str)
    whose = table.get("mailbox", str)
    mailbox = None if whose is None else Address.parse(whose)
    bounds = limits(table, FileLimits)
    if kind == "mbox":
        variant = table.choice("variant", [each.value for each in MboxVariant], "mboxo")
        return Mbox(path, variant=MboxVariant(variant), name=name, mailbox=mailbox, limits=bounds)
    if kind == "maildir":
        return Maildir(path, name=name, mailbox=mailbox, limits=bounds)
    suffixes = table.texts("suffixes")
    if suffixes is None:
        suffixes = (".eml",)
    return EmlFolder(path, suffixes=suffixes, name=name, mailbox=mailbox, limits=bounds)

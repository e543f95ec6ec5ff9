"""`mailboxes` in `[source]`: those of a whole organisation, and a source for each."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from mailarchive._cli._text import counted
from mailarchive._model import normalized
from mailarchive.errors import ConfigurationError, MailboxNotFound
from mailarchive.users.csv import CsvDirectory
from mailarchive.users.mailboxes import MailboxChoice, MailboxKind, mailboxes_of, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

    from mailarchive._cli._toml import Table
    from mailarchive.abc import Directory, Source
    from mailarchive.users.mailboxes import Mailbox, Plan


@frozen(repr=False)
class Organisation:
    """The mailboxes of an organisation: which of them, and how each is read."""

    chosen: MailboxChoice
    source_of: Callable[[Mailbox], Source] = field(repr=False)
    names: str
    """What the name of every mailbox's source begins with."""
    mailboxes: Callable[[], Iterable[Mailbox]] | None = field(default=None, repr=False)
    """Every mailbox there is; those of the list of users where nothing else tells."""
    listed_here: bool = False
    """Whether they are told by a file here, rather than by a server."""
    each_logs_in: bool = False
    """Whether the server is asked anew for each, and may refuse the login to one alone."""
    by_local_part: bool = False
    """Whether the server is asked for each by what stands before the `@`."""

    def of(self, users: Directory) -> Self:
        """Return the same with the users' mailboxes, unless it knows of others."""
        if self.mailboxes is not None:
            return self
        here = isinstance(users, CsvDirectory)
        return evolve(self, mailboxes=partial(mailboxes_of, users), listed_here=here)

    def plan(self) -> Plan:
        """Ask the directory what there is.

        Raises `DirectoryError`, `MailboxNotFound`, and `ConfigurationError` where the server
        would open one mailbox for two of them.
        """
        assert self.mailboxes is not None, "the job has given it its users"
        every = tuple(self.mailboxes())
        made = plan(every, self.chosen)
        if not made.taken:
            raise _nothing_chosen(made)
        if self.by_local_part:
            # Who is merely not asked for may be whom the server knows by that name.
            all_here = evolve(self.chosen, only=None, kinds=frozenset(MailboxKind))
            _refuse_twins(made.taken, plan(every, all_here).taken)
        return made


def local_part(mailbox: Mailbox) -> str:
    """Return what stands before the `@` of the address that names a mailbox."""
    return mailbox.key.rpartition("@")[0]


def _refuse_twins(taken: Iterable[Mailbox], all_here: Iterable[Mailbox]) -> None:
    """Raise where one of two users would get the other's mail."""
    having = Counter(map(_one_login, all_here))
    twins = sum(having[_one_login(each)] > 1 for each in taken)
    if twins:
        raise ConfigurationError(
            f"named_by: {counted(twins, 'chosen mailbox has', 'chosen mailboxes have')} the same"
            " part before the @ as another, so the server would open one mailbox for both",
            suggestions=[
                "name in without_mailboxes who has no mailbox on this server",
                'set named_by = "address" where the server knows mailboxes by whole addresses',
            ],
        )


def _one_login(mailbox: Mailbox) -> str:
    """Logins that a server may take for one: in either case, prepared as SASLprep does."""
    return normalized("NFKC", local_part(mailbox).casefold())


def _nothing_chosen(made: Plan) -> MailboxNotFound:
    whys = Counter(each.why for each in made.excluded)
    told = "".join(f"; {count:,} left out: {why}" for why, count in whys.most_common())
    return MailboxNotFound(
        f"no mailbox of the directory is chosen{told}",
        suggestions=["mend mailboxes, without_mailboxes or kinds in [source]"],
    )


def chosen(table: Table) -> MailboxChoice:
    """Return which mailboxes a table takes."""
    if "mailbox" in table:
        raise table.wrong("mailbox and mailboxes contradict each other", "drop one of them")
    value = table.raw("mailboxes")
    if value != "all" and not (isinstance(value, list) and all(isinstance(x, str) for x in value)):
        raise table.wrong('mailboxes must be "all" or a list of addresses in quotes')
    only = None if value == "all" else table.texts("mailboxes")
    words = table.texts("kinds")
    known = [each.value for each in MailboxKind]
    if not set(words or ()) <= set(known):
        raise table.wrong(f"kinds must be some of {', '.join(known)}")
    kinds = {} if words is None else {"kinds": frozenset(map(MailboxKind, words))}
    return MailboxChoice(only, table.texts("without_mailboxes") or (), **kinds)


def refuse_without_mailboxes(table: Table, *keys: str) -> None:
    """Raise where a key stands there that says something of many mailboxes, and one is read."""
    for key in keys:
        if key in table:
            raise table.wrong(
                f"{key} is for many mailboxes, and one is read",
                f'add mailboxes = "all", or drop {key}',
            )

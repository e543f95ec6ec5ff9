"""`mailboxes` in `[source]`: those of a whole organisation, and a source for each."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from mailarchive.errors import MailboxNotFound
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

    def of(self, users: Directory) -> Self:
        """Return the same with the users' mailboxes, unless it knows of others."""
        if self.mailboxes is not None:
            return self
        here = isinstance(users, CsvDirectory)
        return evolve(self, mailboxes=partial(mailboxes_of, users), listed_here=here)

    def plan(self) -> Plan:
        """Ask the directory what there is; raises `DirectoryError`, `MailboxNotFound`."""
        assert self.mailboxes is not None, "the job has given it its users"
        made = plan(self.mailboxes(), self.chosen)
        if not made.taken:
            raise _nothing_chosen(made)
        return made


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

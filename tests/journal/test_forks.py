"""Forks: the union over several reports, and groups that drop nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailarchive import headers, journal
from mailarchive._model import Digest, Recipient, Role, Span
from mailarchive.testing import messages, reports

pytestmark = pytest.mark.slow


def fork_key(report: journal.JournalReport) -> Digest:
    """Return the key of the first original, as a caller would make it."""
    original = report.originals[0]
    return headers.fork_key(original.of(report.raw) if isinstance(original, Span) else original)


def report_of(people: list[Recipient], *, hop: int = 0) -> journal.JournalReport:
    """Return a report of one message to these people, that took some way."""
    original = messages.message(headers=[("Received", f"from a by b{hop}")], message_id="<1@x>")
    return journal.decode(reports.report(original, recipients=people))


ADDRESSES = [f"{name}@x.example" for name in ("ann", "Ann", "bob", "carol", "dan")]
PEOPLE = st.builds(
    reports.recipient,
    st.sampled_from(ADDRESSES),
    st.sampled_from(["to", "cc", "bcc", "recipient"]),
    expanded=st.none() | st.sampled_from(["dl@x.example", "all@x.example"]),
)
"""Few enough to meet again in the next report."""
FORKS = st.lists(st.lists(PEOPLE, max_size=3).map(report_of), max_size=4)


@given(FORKS)
def test_the_union_is_every_recipient_of_every_report(forks: list[journal.JournalReport]) -> None:
    """As a set it is the union of the sets, each recipient once."""
    expected = {each for fork in forks for each in fork.envelope.recipients}
    union = journal.union(forks)

    assert set(union.recipients) == expected
    assert len(union.recipients) == len(expected)


def named(forks: list[journal.JournalReport]) -> set[Recipient]:
    """Return the recipients of the union."""
    return set(journal.union(forks).recipients)


@given(FORKS, FORKS)
def test_the_union_is_commutative(
    some: list[journal.JournalReport], others: list[journal.JournalReport]
) -> None:
    """Whose report came first decides nothing about who is named."""
    assert named([*some, *others]) == named([*others, *some])


@given(FORKS, FORKS, FORKS)
def test_the_union_is_associative(
    one: list[journal.JournalReport],
    two: list[journal.JournalReport],
    three: list[journal.JournalReport],
) -> None:
    """The union of unions is the union of all: reports may come in any batches."""
    assert named(one) | named([*two, *three]) == named([*one, *two]) | named(three)
    assert named([*one, *two, *three]) == named(one) | named(two) | named(three)


@given(FORKS)
def test_the_union_is_idempotent(forks: list[journal.JournalReport]) -> None:
    """The same reports again change nothing at all; of one report it is its own envelope."""
    assert journal.union([*forks, *forks]) == journal.union(forks)
    for fork in forks:
        alone = journal.union([fork])
        assert set(alone.recipients) == set(fork.envelope.recipients)
        assert (alone.sender, alone.subject) == (fork.sender, fork.subject)


@given(FORKS, FORKS)
def test_the_union_never_forgets(
    some: list[journal.JournalReport], others: list[journal.JournalReport]
) -> None:
    """One more report can only add recipients, and keeps the order of those before."""
    before = journal.union(some).recipients

    assert journal.union([*some, *others]).recipients[: len(before)] == before


@given(
    st.binary(max_size=60),
    st.lists(st.sampled_from(["Received", "X-MS-Exchange-Organization-SCL", "X-Any"]), max_size=4),
    st.text("abc ", max_size=9),
)
def test_forks_have_one_key_and_other_messages_another(
    body: bytes, names: list[str], value: str
) -> None:
    """Headers that a transport adds change nothing; a byte more of the body does."""
    added = [(name, f"x{value}") for name in names]
    first = messages.message(body=body, message_id="<1@x>")
    fork = messages.message(body=body, message_id="<1@x>", headers=added)
    other = messages.message(body=body + b"!", message_id="<1@x>")
    reports_ = [journal.decode(reports.report(each)) for each in (first, fork, other)]

    assert list(journal.group(reports_, fork_key).values()) == [
        tuple(reports_[:2]),
        (reports_[2],),
    ]


@given(FORKS)
def test_a_folded_view_keeps_every_fact(forks: list[journal.JournalReport]) -> None:
    """Each line of each report is there exactly once, under its address."""
    lines = [(n, line) for n, fork in enumerate(forks) for line in fork.recipients]
    folded = journal.fold(forks)
    kept = [(fact, each.address) for each in folded for fact in each.facts]

    assert sorted(lines, key=repr) == sorted((fact for fact, _ in kept), key=repr)
    assert all(fact[1].address == address for fact, address in kept)
    assert len({each.address for each in folded}) == len(folded)


def test_the_surest_role_is_shown() -> None:
    """`Recipient` says less than a verified role."""
    texts = [("recipient", "a@x.example"), ("bcc", "a@x.example"), ("cc", "A@X.example")]
    forks = [report_of([reports.recipient(address, role)]) for role, address in texts]
    (facts,) = journal.fold(forks)

    assert facts.role is Role.CC
    assert facts.roles == {Role.RECIPIENT, Role.BCC, Role.CC}


def test_forks_fall_into_one_group_and_nothing_is_dropped() -> None:
    """Other transport headers, other recipients: one message; a twin Message-ID: another."""
    people = [[reports.recipient(f"r{n}@x.example")] for n in range(3)]
    forks = [report_of(each, hop=n) for n, each in enumerate(people)]
    twin = messages.message(message_id="<1@x>", body="other")
    other = journal.decode(reports.report(twin))
    groups = journal.group([*forks, other, forks[0]], fork_key)

    assert list(groups.values()) == [(*forks, forks[0]), (other,)]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 99))))
def test_grouping_is_a_permutation(marked: list[tuple[int, int]]) -> None:
    """Every report is in exactly one group, and each group is of one key."""
    made = [report_of([reports.recipient(f"k{key}-{n}@x.example")]) for key, n in marked[:6]]
    groups = journal.group(made, lambda report: report.recipients[0].written[:2])

    assert sorted(map(id, made)) == sorted(id(each) for group in groups.values() for each in group)
    for key, group in groups.items():
        assert {each.recipients[0].written[:2] for each in group} == {key}

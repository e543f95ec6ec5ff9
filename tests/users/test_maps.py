"""Maps from addresses to users: one question, and no answer for the unknown."""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailarchive import Address, User, UserId
from mailarchive.errors import ConfigurationError, DirectoryError
from mailarchive.users import Cached, DirectoryMap, FirstOf, Merged, PatternMap, StaticMap

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from mailarchive.abc import UserMap

NAMES = ["ann", "bob", "cy", "dee", "eve"]
books = st.dictionaries(st.sampled_from(NAMES), st.sets(st.sampled_from("123"), min_size=1))


def address(name: str) -> Address:
    """Return somebody's address."""
    return Address(f"{name}@example.com")


def book(entries: Mapping[str, Iterable[str]]) -> StaticMap:
    """Return a static map over names."""
    return StaticMap({f"{name}@example.com": users for name, users in entries.items()})


class Noting:
    """A map that notes what it was asked."""

    def __init__(self, users: UserMap) -> None:
        """Ask `users` in turn."""
        self._users = users
        self.questions: list[frozenset[Address]] = []

    def resolve(self, addresses: Collection[Address], /) -> Mapping[Address, frozenset[UserId]]:
        """Note and answer."""
        self.questions.append(frozenset(addresses))
        return self._users.resolve(addresses)


class Users:
    """A directory in memory that notes how often it was read, and can break."""

    def __init__(self, *users: User) -> None:
        """Begin with some users."""
        self.list = list(users)
        self.reads = 0
        self.error: Exception | None = None

    def users(self) -> Iterable[User]:
        """Return the users, or raise."""
        self.reads += 1
        if self.error is not None:
            raise self.error
        return self.list


def user(id_: str, *addresses: str) -> User:
    """Return a user."""
    return User(UserId(id_), addresses=tuple(map(Address.parse, addresses)))


def everybody(users: UserMap, *names: str) -> dict[str, set[str]]:
    """Ask for some names' addresses and return the answer by name."""
    answer = users.resolve([address(name) for name in names or NAMES])
    assert all(answer.values())
    return {known.spec.partition("@")[0]: set(ids) for known, ids in answer.items()}


@given(books)
def test_a_static_map_knows_what_it_was_given(entries: dict[str, set[str]]) -> None:
    """Every given address has its users, and any other is absent."""
    assert entries == everybody(book(entries))


@pytest.mark.parametrize(
    "written",
    ["BOB@EXAMPLE.COM", "smtp:bob@example.com", '"bob"@example.com', " bob@example.com."],
)
def test_a_spelling_is_no_other_address(written: str) -> None:
    """An address is found however it is spelled, on both sides."""
    asked = Address.parse(written)

    assert {asked: {"b"}} == StaticMap({"bob@example.com": "b"}).resolve([asked])
    assert {address("bob"): {"b"}} == StaticMap({written: "b"}).resolve([address("bob")])


def test_two_spellings_add_up() -> None:
    """The same address written twice has the users of both."""
    users = StaticMap({"bob@example.com": "a", "SMTP:Bob@Example.com": ["b", "c"]})

    assert {"bob": {"a", "b", "c"}} == everybody(users)


@pytest.mark.parametrize(
    "mapping", [{"": "a"}, {"bob@x": ""}, {"bob@x": []}, {"bob@x": ["a", ""]}]
)
def test_an_empty_entry_is_refused(mapping: dict[str, str | list[str]]) -> None:
    """An address for nobody, or a user without an id, is a mistake and said."""
    with pytest.raises(ConfigurationError) as caught:
        StaticMap(mapping)

    assert "bob" not in str(caught.value)


def test_no_map_shows_an_address() -> None:
    """The repr of a map, which may stand in a log, shows nobody."""
    for users in (StaticMap({"bob@x": "b"}), PatternMap({"bob@x": "b"})):
        assert "bob" not in repr(users)
        assert "<1>" in repr(users)


def test_a_subaddress_is_the_address_where_asked_for() -> None:
    """`bob+news` is Bob's only with the separator, and somebody else's if it is written so."""
    asked = [Address("bob+news@example.com"), Address("bob+own@example.com")]
    entries = {"bob@example.com": "b", "bob+own@example.com": "c"}

    assert {asked[1]: {"c"}} == StaticMap(entries).resolve(asked)
    assert {asked[0]: {"b"}, asked[1]: {"c"}} == StaticMap(entries, subaddress="+").resolve(asked)


def test_an_encapsulated_name_finds_its_user() -> None:
    """What Exchange writes for an old X.500 name belongs to the user who has that name."""
    bob = user("b", "x500:/o=Contoso/ou=First Group/cn=Bob", "bob@contoso.com")
    users = DirectoryMap(Users(bob))
    name = "IMCEAEX-_o=contoso_ou=first+20group_cn=bob"
    asked = Address(f"{name}@CONTOSO.com")
    online = Address(f"{name}@EURP195.PROD.OUTLOOK.COM")

    assert {asked: {"b"}, online: {"b"}} == users.resolve([asked, online, address("ann")])


@pytest.mark.parametrize(
    "domain", ["evil.example", "contoso.com.evil.example", "prod.outlook.com.x"]
)
def test_an_encapsulated_name_at_a_foreign_domain_is_nobody(domain: str) -> None:
    """Whoever owns the domain gets the mail, and would let us show it to somebody here."""
    users = DirectoryMap(Users(user("b", "x500:/o=Contoso/cn=Bob", "bob@contoso.com")))

    assert users.resolve([Address(f"IMCEAEX-_o=Contoso_cn=Bob@{domain}")]) == {}


def test_a_directory_map_knows_every_alias() -> None:
    """Each address of each user is theirs, a shared one everybody's who has it."""
    users = DirectoryMap(
        Users(user("a", "ann@example.com", "eve@example.com"), user("b", "SMTP:Eve@example.com"))
    )

    assert {"ann": {"a"}, "eve": {"a", "b"}} == everybody(users)


def test_a_directory_map_lists_users_also_without_an_address() -> None:
    """Mail may be given to somebody whom none is sent to."""
    users = DirectoryMap(Users(user("bob", "bob@example.com"), user("rest")))

    assert [users.lists(UserId(each)) for each in ("bob", "rest", "ghost")] == [True, True, False]


def test_a_directory_is_read_once_and_again_when_it_is_old() -> None:
    """Without an age it is read once; with one, by the first question after that time."""
    now = [0.0]
    directory = Users(user("a", "ann@example.com"))
    users = DirectoryMap(directory, max_age=timedelta(minutes=1), clock=lambda: now[0])
    kept = DirectoryMap(directory, clock=lambda: now[0])
    everybody(users)
    everybody(kept)
    directory.list.append(user("b", "bob@example.com"))
    now[0] = 59.9

    assert {"ann": {"a"}} == everybody(users)
    now[0] = 60.0
    assert {"ann": {"a"}, "bob": {"b"}} == everybody(users)
    assert {"ann": {"a"}} == everybody(kept)
    kept.refresh()
    assert {"ann": {"a"}, "bob": {"b"}} == everybody(kept)
    assert directory.reads == 4


def test_a_directory_that_fails_is_never_taken_for_an_empty_one() -> None:
    """A failed reading raises, keeps what there was, and is tried again when due."""
    now = [0.0]
    directory = Users(user("a", "ann@example.com"))
    users = DirectoryMap(directory, max_age=timedelta(1), clock=lambda: now[0])
    everybody(users)
    directory.error = DirectoryError("gone")
    with pytest.raises(DirectoryError):
        users.refresh()

    assert {"ann": {"a"}} == everybody(users)
    now[0] = 100_000.0
    with pytest.raises(DirectoryError):
        users.resolve([address("ann")])


def test_what_breaks_in_a_directory_is_given_a_type() -> None:
    """A foreign error becomes ours, without its text."""
    directory = Users()
    directory.error = KeyError("bob@example.com")

    with pytest.raises(DirectoryError) as caught:
        DirectoryMap(directory).resolve([address("bob")])

    assert "bob" not in str(caught.value)


def test_a_user_without_an_id_is_refused() -> None:
    """A directory that gives an empty id owns nothing."""
    with pytest.raises(DirectoryError):
        DirectoryMap(Users(user("", "ann@example.com"))).resolve([address("ann")])


@given(st.lists(books, min_size=1, max_size=4))
def test_the_first_map_that_knows_decides(entries: list[dict[str, set[str]]]) -> None:
    """An address has the users of the first map that knows it, and no later one is asked."""
    maps = [Noting(book(each)) for each in entries]
    expected: dict[str, set[str]] = {}
    for each in reversed(entries):
        expected |= each

    assert expected == everybody(FirstOf(maps))
    known: set[Address] = set()
    for each, asked in zip(entries, maps, strict=True):
        assert len(asked.questions) <= 1
        assert all(not known & question for question in asked.questions)
        known |= {address(name) for name in each}


@given(st.lists(books, min_size=1, max_size=4))
def test_merged_maps_add_up(entries: list[dict[str, set[str]]]) -> None:
    """An address has the users of all maps, each asked once for everything."""
    maps = [Noting(book(each)) for each in entries]
    expected: dict[str, set[str]] = {}
    for each in entries:
        for name, ids in each.items():
            expected[name] = expected.get(name, set()) | ids

    assert expected == everybody(Merged(maps))
    assert {1} == {len(each.questions) for each in maps}


@pytest.mark.parametrize("combine", [FirstOf, Merged])
def test_a_combination_of_nothing_is_refused(combine: type[FirstOf | Merged]) -> None:
    """No map at all is nearly always a mistake."""
    with pytest.raises(ValueError, match="maps"):
        combine(())


@pytest.mark.parametrize("combine", [FirstOf, Merged])
def test_a_map_answers_only_what_it_was_asked(combine: type[FirstOf | Merged]) -> None:
    """Whatever a map says of an address that nobody asked for is left out, empty answers too."""

    class Talkative:
        """A map that answers emptily, and names somebody nobody asked for."""

        def resolve(self, addresses: Collection[Address], /) -> dict[Address, frozenset[UserId]]:
            """Answer too much."""
            ids = {each: frozenset[UserId]() for each in addresses}
            return {**ids, address("eve"): frozenset({UserId("e")})}

    assert combine([Talkative()]).resolve([address("bob")]) == {}
    assert combine([Talkative()]).resolve([]) == {}


@given(
    st.lists(st.tuples(st.sets(st.sampled_from(NAMES)), st.integers(0, 8)), max_size=8),
    books,
    st.integers(1, 5),
)
def test_a_cache_changes_no_answer(
    questions: list[tuple[set[str], int]], entries: dict[str, set[str]], capacity: int
) -> None:
    """Over any questions at any times the answers are those of the map behind it."""
    now = [0.0]
    behind = Noting(book(entries))
    users = Cached(behind, timedelta(seconds=10), clock=lambda: now[0], capacity=capacity)
    for names, step in questions:
        now[0] += step

        assert {n: entries[n] for n in names & entries.keys()} == (
            everybody(users, *names) if names else {}
        )
    assert frozenset() not in behind.questions


def test_a_cache_asks_once_in_its_time() -> None:
    """Known or not, an address is asked for once, and again when its answer is old."""
    now = [0.0]
    behind = Noting(book({"ann": "1"}))
    users = Cached(behind, timedelta(seconds=10), clock=lambda: now[0])
    everybody(users, "ann", "bob")
    now[0] = 9.9
    everybody(users, "ann", "bob", "cy")
    now[0] = 10.0
    everybody(users, "ann", "cy")

    asked = [{"ann", "bob"}, {"cy"}, {"ann"}]
    assert asked == [{each.spec.partition("@")[0] for each in q} for q in behind.questions]


def test_a_cache_keeps_no_error() -> None:
    """What could not be answered is asked again at once."""
    directory = Users(user("a", "ann@example.com"))
    directory.error = DirectoryError("gone")
    users = Cached(DirectoryMap(directory), timedelta(hours=1))
    with pytest.raises(DirectoryError):
        users.resolve([address("ann")])
    directory.error = None

    assert {"ann": {"a"}} == everybody(users)


def test_a_cache_keeps_no_more_than_it_may() -> None:
    """The room for answers is bounded, whatever is asked."""
    users = Cached(book({}), timedelta(hours=1), capacity=3)
    for name in range(10):
        users.resolve([address(str(name))])
        assert len(users._answers) <= 3
    users.resolve([address(str(name)) for name in range(10)])

    assert len(users._answers) <= 3


@pytest.mark.parametrize(("seconds", "capacity"), [(-1, 1), (1, 0)])
def test_an_impossible_cache_is_refused(seconds: int, capacity: int) -> None:
    """A negative time, or no room, is said at construction."""
    with pytest.raises(ConfigurationError):
        Cached(book({}), timedelta(seconds=seconds), capacity=capacity)


@pytest.mark.parametrize(
    ("patterns", "asked", "expected"),
    [
        ({"*@example.com": "{local}"}, "Bob.Builder@Example.com", "bob.builder"),
        ({"*@example.com": "{local}"}, "bob@sub.example.com", None),
        ({"*@example.com": "{local}"}, "bob@example.org", None),
        ({"*@example.com": "{local}.{domain}"}, "bob@example.com", "bob.example.com"),
        ({"ext-*@example.com": "x", "*@example.com": "{local}"}, "ext-bob@example.com", "x"),
        ({"ext-*@example.com": "x"}, "ext-@example.com", None),
        ({"*-ext@example.com": "{local}"}, "bob-ext@example.com", "bob-ext"),
        ({"a*a@example.com": "x"}, "aa@example.com", None),
        ({"info@example.com": "desk"}, "INFO@example.com", "desk"),
        ({"info@example.com": "desk"}, "info2@example.com", None),
        ({"*@bücher.example": "{local}"}, "bob@xn--bcher-kva.example", "bob"),
        ({"*@example.com": "{local}"}, "smtp:bob@example.com", "bob"),
        ({"*@example.com": "{local}"}, "/o=example.com/cn=bob", None),
    ],
)
def test_a_pattern_makes_a_user(
    patterns: dict[str, str], asked: str, expected: str | None
) -> None:
    """The first pattern that matches names the user; a star is one or more signs."""
    wanted = {} if expected is None else {Address.parse(asked): {expected}}

    assert wanted == PatternMap(patterns).resolve([Address.parse(asked)])


@pytest.mark.parametrize(
    "local",
    [
        "../../x", "a/b", "a\\b", ".", "..", ".a", "a.", "a b", "a\nb", '"a b"', "{domain}", "a;b",
        "a'b", "a$b", "-rf", "ä", "a" * 65, "a%b", "a&b",
    ],
)  # fmt: skip
def test_a_pattern_makes_no_user_of_a_hostile_address(local: str) -> None:
    """What could be a path, a query or a command elsewhere is nobody."""
    asked = Address(f"{local}@example.com")

    answer = PatternMap({"*@example.com": "{local}"}).resolve([asked])

    assert answer == {}


@given(st.text(max_size=20))
def test_any_address_makes_a_plain_user_or_none(local: str) -> None:
    """Whatever a sender writes, a user id of a pattern has plain signs only."""
    answer = PatternMap({"*@example.com": "{local}"}).resolve([Address(f"{local}@example.com")])

    for ids in answer.values():
        for each in ids:
            assert each.isascii()
            assert not set(each) - set("abcdefghijklmnopqrstuvwxyz0123456789._-+")
            assert not each.startswith((".", "-"))


def test_a_pattern_takes_a_subaddress_off() -> None:
    """With the separator the user is who stands before it."""
    asked = Address("bob+news@example.com")

    assert {asked: {"bob+news"}} == PatternMap({"*@example.com": "{local}"}).resolve([asked])
    assert {asked: {"bob"}} == PatternMap({"*@example.com": "{local}"}, subaddress="+").resolve(
        [asked]
    )


@pytest.mark.parametrize(
    ("pattern", "template"),
    [
        ("example.com", "x"), ("*", "x"), ("@example.com", "x"), ("bob@", "x"), ("", "x"),
        ("*@*.com", "x"), ("**@example.com", "x"), ("a*b*@example.com", "x"),
        ("*@example.com", ""), ("*@example.com", "{user}"), ("*@example.com", "{local"),
        ("*@example.com", "{}"), ("*@example.com", "{local!r}"), ("*@example.com", "{local.x}"),
    ],
)  # fmt: skip
def test_a_broken_pattern_is_refused(pattern: str, template: str) -> None:
    """Only one star left of the @, and only the two places, are understood."""
    with pytest.raises(ConfigurationError) as caught:
        PatternMap({pattern: template})

    assert caught.value.suggestions


def test_maps_can_be_sent_to_a_worker() -> None:
    """Maps that are values survive pickling and answer the same."""
    users = FirstOf((book({"ann": "1"}), Merged([PatternMap({"*@example.com": "{local}"})])))

    assert everybody(users) == everybody(pickle.loads(pickle.dumps(users)))

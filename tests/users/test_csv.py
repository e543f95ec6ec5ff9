"""A directory in a CSV file: every user whole, or an error that names the line."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.file_sources import lesser_user

from mailarchive import Address, UserId
from mailarchive.errors import DirectoryError
from mailarchive.users import DirectoryMap
from mailarchive.users.csv import CsvDirectory


def directory(place: Path, content: str | bytes) -> CsvDirectory:
    """Write a file of users."""
    path = place / "users.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return CsvDirectory(path)


def read(place: Path, content: str | bytes) -> list[tuple[str, str, list[str]]]:
    """Return the users in a file as plain tuples."""
    users = directory(place, content).users()
    return [(user.id, user.name, [str(each) for each in user.addresses]) for user in users]


BOB = [("u1", "Bob", ["bob@example.com", "robert@example.com"])]


@pytest.mark.parametrize(
    "content",
    [
        "id,name,addresses\nu1,Bob,bob@example.com robert@example.com\n",
        "id,name,addresses\r\nu1,Bob,bob@example.com;robert@example.com\r\n",
        "\ufeffid,name,addresses\nu1,Bob,bob@example.com ; robert@example.com",
        'id;name;addresses\nu1;Bob;"bob@example.com;robert@example.com"\n',
        'sep=;\r\nid;name;addresses\r\nu1;Bob;"bob@example.com;robert@example.com"\r\n',
        '"id";"name";"addresses"\n"u1";"Bob";"bob@example.com\nrobert@example.com"\n',
        "id\tname\taddresses\nu1\tBob\tbob@example.com;robert@example.com\n",
        "Department,ADDRESSES, Id ,Name,,\nx,bob@example.com;robert@example.com,u1,Bob,,\n",
        "\n\nid,name,addresses\n\n ,,\nu1,Bob,bob@example.com;;robert@example.com\n\n",
        "id,name,addresses\nu1,Bob,SMTP:bob@example.com;smtp:robert@example.com;SIP:bob@x\n",
        "id,name,addresses\nu1,Bob,bob@example.com robert@example.com BOB@example.com\n",
    ],
)
def test_every_usual_way_to_write_it_is_read(tmp_path: Path, content: str) -> None:
    """Separators, line ends, marks, quotes and further columns change nothing."""
    assert read(tmp_path, content) == BOB


def test_an_old_name_with_blanks_is_one_address(tmp_path: Path) -> None:
    """X.500 names are kept whole, with a prefix or without, beside other addresses."""
    one, two = "/o=Contoso Ltd/ou=First Group/cn=Bob", "/o=Old (2003)/cn=bob"
    content = f"id,name,addresses\nu1,,bob@example.com x500:{one} {two};EX:{one}\n"

    ((_, _, addresses),) = read(tmp_path, content)

    assert ["bob@example.com", one, two] == addresses


def test_several_columns_may_hold_addresses(tmp_path: Path) -> None:
    """The columns are those that the caller names, and the name may be missing."""
    path = tmp_path / "export.csv"
    path.write_text("objectGUID,mail,proxyAddresses\n7,bob@x.example,smtp:b@x.example\n")

    (user,) = CsvDirectory(
        path, id_column="objectguid", address_columns=("mail", "proxyAddresses")
    ).users()

    assert (UserId("7"), "") == (user.id, user.name)
    assert (Address("bob@x.example"), Address("b@x.example")) == user.addresses


def test_a_user_may_have_no_address(tmp_path: Path) -> None:
    """A cell that is empty, or not there, is a user without mail."""
    assert read(tmp_path, "id,name,addresses\nu1,Bob,\nu2\n") == [
        ("u1", "Bob", []),
        ("u2", "", []),
    ]


def test_an_address_of_two_users_is_shared(tmp_path: Path) -> None:
    """Both users of a shared mailbox own what is sent to it."""
    content = "id,name,addresses\nu1,Bob,desk@example.com\nu2,Ann,Desk@example.com\n"
    asked = Address("desk@example.com")

    assert {asked: {"u1", "u2"}} == DirectoryMap(directory(tmp_path, content)).resolve([asked])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "empty"),
        (" \n\n", "empty"),
        ("id,name,addresses\n", "no user"),
        ("id,name\nu1,Bob\n", "'addresses'"),
        ("u1,Bob,bob@example.com\n", "'id'"),
        ("id,name,addresses,ID\nu1,Bob,,u1\n", "twice"),
        (
            "id,name,addresses\nu1,Bob,b@x\nu2,Ann,a@x\nu1,Bob,c@x\n",
            "line 4: the id stands in line 2",
        ),
        ("id,name,addresses\n,Bob,b@x\n", "line 2"),
        ('id,name,addresses\n"u\n1",Bob,b@x\n', "line 2"),
        ("id,name,addresses\nu1\x00,Bob,b@x\n", "line 2"),
        ("id,name,addresses\nu1,Bob,b@x,c@x\n", "line 2 has more cells"),
        ("id;name;addresses\nu1;Bob;b@x;c@x\n", "line 2 has more cells"),
        ("id,name,addresses\nu1,Bob,Bob <bob@x>\n", "line 2"),
        ('id,name,addresses\nu1,Bob,"b@x,c@x"\n', "line 2"),
        ("id,name,addresses\nu1,Bob,b@x\nu2,Ann,ann\n", "line 3"),
        ("id,name,addresses\nu1,Bob,b@x@y\n", "line 2"),
        ('id,name,addresses\nu1,"Bob"x,b@x\n', "line 2 is no CSV"),
        ('id,name,addresses\nu1,Bob,b@x\nu2,"Ann,a@x\n', "line 3 is no CSV"),
        (
            'id,name,addresses\n"u1","two\nlines",b@x\nu1,Bob,b@x\n',
            "line 4: the id stands in line 2",
        ),
        ("id,name,addresses\nu1,B\xf6b,b@x\n".encode("latin-1"), "line 2 is not UTF-8"),
        ("id,name,addresses\nu1,Bob,b@x\n".encode("utf-16"), "UTF-16"),
        ("sep=;\nid;name;addresses\nu1;Bob;nobody\n", "line 3"),
        ("id,name,addresses\nu1,Bob," + "b@x " * 50_000 + "\n", "line 2"),
    ],
)
def test_a_broken_file_is_refused_whole(tmp_path: Path, content: str | bytes, said: str) -> None:
    """Anything wrong names its line and what to do, shows no cell, and makes no user."""
    with pytest.raises(DirectoryError) as caught:
        directory(tmp_path, content).users()

    text = " ".join((str(caught.value), *caught.value.suggestions))
    assert said in text
    assert caught.value.suggestions
    assert "@" not in text
    assert "Bob" not in text
    assert caught.value.__cause__ is None


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    """A missing file, a folder and a forbidden file each give a typed error without the path."""
    for path in (tmp_path / "bob@example.com", tmp_path, Path("a\0b")):
        with pytest.raises(DirectoryError) as caught:
            CsvDirectory(path).users()
        assert str(tmp_path) not in str(caught.value)
        assert caught.value.suggestions
    with lesser_user() as place:
        hidden = directory(place, "id,addresses\n")
        (place / "users.csv").chmod(0)
        with pytest.raises(DirectoryError):
            hidden.users()


def test_the_file_is_read_anew(tmp_path: Path) -> None:
    """A changed file is what the next reading gives."""
    users = directory(tmp_path, "id,addresses\nu1,a@x\n")
    before = users.users()
    directory(tmp_path, "id,addresses\nu2,b@x\n")

    assert before != users.users()


cells = st.text("ab ,;\"'\n\té/=:", max_size=8)
words = st.from_regex(r"[a-z][a-z0-9.]{0,6}@[a-z]{1,5}\.example", fullmatch=True)


@given(
    st.dictionaries(
        st.text("abcä-/. 1", min_size=1).map(str.strip).filter(bool),
        st.tuples(cells, st.lists(words, max_size=3)),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from([" ", ";", "; ", "\n"]),
)
def test_what_a_csv_writer_wrote_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    users: dict[str, tuple[str, list[str]]],
    delimiter: str,
    between: str,
) -> None:
    """Any ids, names and addresses come back through any dialect."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(["id", "name", "addresses"])
    for id_, (name, addresses) in users.items():
        writer.writerow([id_, name, between.join(addresses)])

    expected = [
        (id_, name.strip(), list(dict.fromkeys(map(Address, addresses))))
        for id_, (name, addresses) in users.items()
    ]
    found = directory(tmp_path_factory.mktemp("csv"), text.getvalue()).users()
    assert expected == [(user.id, user.name, list(user.addresses)) for user in found]


@given(st.binary(max_size=80))
def test_no_file_makes_anything_but_users_or_our_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    """Whatever bytes a file has, it is read or refused with a type."""
    head = b"id,name,addresses\n"
    try:
        users = directory(tmp_path_factory.mktemp("csv"), head + content).users()
    except DirectoryError:
        return
    assert all(user.id for user in users)

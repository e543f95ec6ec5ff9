"""Reports that mean to take long: makers of ones of any length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailarchive.testing import messages, reports

if TYPE_CHECKING:
    from collections.abc import Callable


def nested(depth: int) -> bytes:
    """Return a message of so many multiparts in one another, each with a message inside."""
    head = 'From: a@b.example\r\nContent-Type: multipart/mixed; boundary="n{0}"\r\n\r\n--n{0}\r\n'
    opening = "".join(
        head.format(level) + "Content-Type: message/rfc822\r\n\r\n" for level in range(depth)
    )
    return opening.encode() + b"From: a@b.example\r\n\r\nx\r\n"


HEAD = "Sender: a@b.c\nMessage-Id: <1@x>\n"
DELIMITER = b"\r\n--" + reports.BOUNDARY.encode()


def newer(
    repeated: str, before: str = HEAD, content_type: str = "text/plain"
) -> Callable[[int], bytes]:
    """Return a maker of reports whose text repeats something so many times."""
    return lambda n: reports.with_text(before + repeated * n, content_type=content_type)


def older(repeated: str) -> Callable[[int], bytes]:
    """Return the same for the older grammar."""
    return newer(repeated, f"{HEAD}Recipients:\n")


def markup(repeated: str) -> Callable[[int], bytes]:
    """Return the same for HTML."""
    return newer(repeated, "", content_type="text/html")


def inside(repeated: bytes) -> Callable[[int], bytes]:
    """Return the same for the body of the original."""
    return lambda n: reports.report(messages.message(body=repeated * n))


def header(name: str, repeated: str) -> Callable[[int], bytes]:
    """Return the same for a header field of the original."""
    return lambda n: reports.report(messages.message(headers=[(name, repeated * n)]))


def japanese(repeated: str) -> Callable[[int], bytes]:
    """Return the same for a subject of shifted letters."""
    return newer(repeated, f"{HEAD}Subject: ", "text/plain; charset=iso-2022-jp")


def quoted(repeated: str, before: str = "") -> Callable[[int], bytes]:
    """Return the same for a text that is quoted-printable."""
    return lambda n: reports.with_text(
        f"{HEAD}{before}{repeated * n}", encoding="quoted-printable"
    )


def results(repeated: str) -> Callable[[int], bytes]:
    """Return the same for what a server says of who sent it, above its own line."""
    received = b"\r\nReceived: from a by b\r\n"
    stamp = f"Authentication-Results: mx.example.com; {repeated}"
    return lambda n: stamp.replace(repeated, repeated * n).encode() + received + reports.report()


def users(count: int) -> list[str]:
    """Return so many addresses."""
    return [f"u{number}@x.example" for number in range(count)]


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "recipients": lambda n: reports.report(recipients=users(n)),
    "recipients, departing": newer('To: "U" <u@x.example>, Expanded: dl@x.example\n'),
    "recipients, 2003": lambda n: reports.report(recipients=users(n), dialect="exchange2003"),
    "a failed recipient": lambda n: messages.bounce(reports.report(), failed=["a" * n]),
    "failed recipients": lambda n: messages.bounce(reports.report(), failed=users(n)),
    "levels": lambda n: reports.report(nested(n)),
    "underscores": inside(b"_" * 20),
    "nearly delimiters": inside(DELIMITER[:-1]),
    "delimiters with more": inside(DELIMITER + b"x"),
    "subject lines": lambda n: reports.with_text(
        "Sender: a@b.c\nSubject: x\n" + "To: y\n" * n + "Message-Id: <1@x>\n"
    ),
    "open subject lines": newer("x\n", f"{HEAD}Subject: x\n"),
    "unknown lines": newer("x\n"),
    "folded lines": newer(" x\n", f"{HEAD}To: a@b.c\n"),
    "commas": newer("a, ", f"{HEAD}To: "),
    "histories": newer(", Expanded: d@b.c", f"{HEAD}To: a@b.c"),
    "quotes": newer('"<', f"{HEAD}To: "),
    "escaped quotes": newer('\\"', f'{HEAD}To: "'),
    "backslashes": newer("\\", f'{HEAD}To: "'),
    "brackets": newer("([<", f"{HEAD}To: "),
    "blanks": newer(" ", f"{HEAD}To: a"),
    "blanks behind a comma": newer(" ", f"{HEAD}To: a@b.c, x"),
    "words behind a comma": newer(" xy", f"{HEAD}To: a@b.c, x"),
    "commas, 2003": older("a b,"),
    "separators, 2003": lambda n: reports.with_text(f"{HEAD}Recipients:\n{'a' * n}{',' * n}"),
    "escaped quotes, 2003": newer('\\"', f'{HEAD}Recipients:\n"'),
    "quotes, 2003": older('"<"'),
    "open quotes, 2003": older('"\n'),
    "brackets, 2003": older('<"'),
    "blanks, 2003": older(" "),
    "blanks in brackets, 2003": newer(" ", f"{HEAD}Recipients:\n<EX:/o=a"),
    "lines in brackets, 2003": newer(" x \n", f"{HEAD}Recipients:\n<EX:/o=a"),
    "names, 2003": older("a b c\n"),
    "tags": markup("<p "),
    "comments": markup("<!--<!["),
    "scripts": markup("<script>"),
    "spaces": markup(" <br>\n "),
    "entities": markup("&amp"),
    "digits": lambda n: reports.with_text("&#" + "9" * n, content_type="text/html"),
    "parameters": lambda n: reports.with_text("x", content_type="text/plain" + ";a=b" * n),
    "header lines": lambda n: reports.report(messages.message(headers=[("X-MS", "y")] * n)),
    "folded headers": header("From", "\r\n x"),
    "angle in From": header("From", "<a "),
    "open angle in From": lambda n: reports.report(messages.message(sender="<" + 'a"b" ' * n)),
    "words in From": lambda n: reports.report(messages.message(sender='a"b"' * n)),
    "comments in From": header("From", "("),
    "blanks in From": lambda n: reports.report(
        messages.message(sender=" " * n + "x"), sender="x@y.z"
    ),
    "quotes in From": header("From", '"\\"'),
    "encoded words": header("Subject", "=?u?q?a?= "),
    "top header lines": lambda n: reports.with_text(HEAD, headers=[("X-MS", "y")] * n),
    "quoted parameters": lambda n: reports.with_text("x", content_type='text/plain;a="\\"' * n),
    "escapes": japanese("\x1b$B\x1b(B"),
    "open escapes": japanese("\x1b$B"),
    "shifts": japanese("\x0e6\x0f"),
    "padded soft breaks": quoted("= "),
    "padded soft lines": quoted("= \n"),
    "blanks behind an equals sign": quoted(" ", "="),
    "comments in results": results("("),
    "open comments in results": results("(a) ("),
    "quotes in results": results('"a" "'),
    "methods in results": results(";spf"),
    "servers": lambda n: b"Received: from a by b\r\n" * n + reports.report(),
}

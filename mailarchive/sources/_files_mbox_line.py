"""The From_ line of an mbox: which lines are one, and the date that it has.

No writer but those of `mboxcl2` may leave a line `From ...` as it is inside a message, and
many do.  So a line is one only where it looks like one: who sent it, as one word or as an
archive on the web writes an address, or nothing; then a date as `ctime` writes it, with
what mutt and Dovecot bear in it, or as it stands in a header; and at most a zone, a comment
and `remote from` behind.  Thunderbird writes `From ` alone: that is one before a header.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

LINE: Final = 1024
"""Bytes that are looked at from the beginning of a line; a longer line is no From_ line."""

_S: Final = rb"[ \t]+"
_WORD: Final = rb'(?:"(?:[^"\\\n]|\\.)*"|[^\s"])+'
_WHO: Final = rb"%b(?: at %b)?" % (_WORD, _WORD)
_ADDRESS: Final = rb"(?:[^\s@]+@[^\s@]*|[^\s@]+ at [^\s@]+|-|MAILER-DAEMON)"
_DAY: Final = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTHS: Final = b"jan feb mar apr may jun jul aug sep oct nov dec".split()
_MONTH: Final = rb"(?P<month>%b)" % b"|".join(_MONTHS)
_DATE: Final = rb"(?P<day>\d{1,2})"
_TIME: Final = rb"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d))?"
_YEAR: Final = rb"(?P<year>\d{4}|\d\d)"
_ZONE: Final = rb"(?-i:[A-Z]{0,5}[+-]\d\d:?\d\d|\(?[A-Z]{1,5}\)?)"
_ZONES: Final = rb"(?P<%%b>(?:%b%b){0,2})" % (_S, _ZONE)
_TAIL: Final = rb"(?:%b\([^()\n]{1,60}\))?(?:%bremote%bfrom%b\S+)?[ \t]*" % (_S, _S, _S, _S)


def _form(who: bytes, *date: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?i)From[ \t]+%b%b%b" % (who, b"".join(date), _TAIL))


_FORMS: Final = (
    _form(  # ctime, and its zone before or behind the year
        rb"(?:%b%b)?" % (_WHO, _S),
        *(_DAY, rb",?", _S, _MONTH, _S, _DATE, rb",?", _S, _TIME, _ZONES % b"zone"),
        *(_S, _YEAR, _ZONES % b"later"),
    ),
    _form(  # JavaScript: the year before the time
        rb"(?:%b%b)?" % (_WHO, _S),
        *(_DAY, _S, _MONTH, _S, _DATE, _S, _YEAR, _S, _TIME, _ZONES % b"zone", rb"(?P<later>)"),
    ),
    _form(  # RFC 5322; who it is from must be an address, for people write such dates too
        _ADDRESS + _S,
        *(_DAY, rb",?", _S, _DATE, rb"[ -]", _MONTH, rb"[ -]", _YEAR, _S, _TIME),
        *(_ZONES % b"zone", rb"(?P<later>)"),
    ),
)
_BARE: Final = re.compile(rb"From [ \t]*\r?\n[!-9;-~]{1,200}:")
_OFFSET: Final = re.compile(rb"([+-])(\d\d):?(\d\d)")


def is_from_line(head: bytes) -> bool:
    """Tell whether bytes begin with a From_ line; `head` is `LINE` long or to the file's end."""
    if not head.startswith(b"From "):
        return False
    line, newline, _ = head.partition(b"\n")
    if not newline and len(head) >= LINE:
        return False
    return _parts(line) is not None or _BARE.match(head) is not None


def _parts(line: bytes) -> re.Match[bytes] | None:
    line = line.removesuffix(b"\r")
    return next((found for form in _FORMS if (found := form.fullmatch(line))), None)


def from_line_date(line: bytes) -> datetime | None:
    """Return the date of a From_ line, in UTC unless it says otherwise, or `None`."""
    match = _parts(line)
    if match is None:
        return None
    parts = {name: int(match[name] or 0) for name in ("day", "hour", "minute", "second")}
    month = 1 + _MONTHS.index(match["month"].lower())
    try:
        local = datetime(_year(match["year"]), month, tzinfo=UTC, **parts)
        return local - _offset(match["zone"] + match["later"])
    except (ValueError, OverflowError):
        return None


def _year(digits: bytes) -> int:
    """Return a year; of one with two digits the century is the one that mail was in."""
    year = int(digits)
    if len(digits) > len("24"):
        return year
    return year + (2000 if year < 70 else 1900)  # noqa: PLR2004 - as Unix does


def _offset(zone: bytes) -> timedelta:
    """Return how far a zone is from UTC; a name tells nothing for certain."""
    match = _OFFSET.search(zone)
    if match is None:
        return timedelta()
    sign = -1 if match[1] == b"-" else 1
    return sign * timedelta(hours=int(match[2]), minutes=int(match[3]))

"""Text from bytes and a charset label, as Microsoft's and everybody's writers mean it.

A label names the code page that its writers really use, not the one of that name in the
standard: text labelled `gb2312` holds GB 18030, `iso-8859-1` holds windows-1252.  Only
labels of the list are obeyed.  `utf-7`, `unicode_escape` and the like can make line ends
out of ordinary letters and are refused, as is everything unknown.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

_SAME: Final = (
    *(f"iso8859-{n}" for n in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)),
    *(f"cp{n}" for n in (437, 720, 737, 775, 850, 852, 855, 857, 858, 860, 861, 862, 863)),
    *(f"cp{n}" for n in (864, 865, 866, 869, 874, 932, 949, 950)),
    *(f"cp{n}" for n in range(1250, 1259)),
    *("koi8-r", "koi8-u", "koi8-t", "hz", "johab", "iso2022-kr"),
    *("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"),
)
_OTHERS: Final = {
    "ascii": "us-ascii ascii ansi-x3.4-1968 iso646-us iso-ir-6 csascii 646 cp20127",
    "utf-8": "utf-8 utf8 unicode-1-1-utf-8 x-unicode-2-0-utf-8 cp65001 csutf8",
    "utf-16": "utf-16 utf16 csutf16 iso-10646-ucs-2 ucs-2",
    "utf-16-le": "utf-16le utf16le unicode cp1200",
    "utf-16-be": "utf-16be utf16be unicodefffe cp1201",
    "utf-32": "utf-32 utf32 iso-10646-ucs-4 ucs-4",
    "utf-32-le": "utf-32le utf32le cp12000",
    "utf-32-be": "utf-32be utf32be cp12001",
    "cp1252": "iso-8859-1 iso8859-1 latin1 latin-1 l1 iso-ir-100 cp819 csisolatin1 cp28591 ansi",
    "cp1254": "iso-8859-9 iso8859-9 latin5 l5 csisolatin5 cp28599",
    "iso8859-8": "iso-8859-8-i iso-8859-8-e visual logical cp28598 cp38598 csisolatinhebrew",
    "iso8859-6": "iso-8859-6-i iso-8859-6-e cp28596 csisolatinarabic",
    "iso8859-2": "latin2 l2 csisolatin2 cp28592",
    "iso8859-15": "latin9 latin-9 l9 cp28605",
    "cp874": "windows-874 dos-874 iso-8859-11 tis-620 tis620 cp28601",
    "cp932": "shift-jis shiftjis sjis x-sjis ms-kanji windows-31j csshiftjis cswindows31j"
    " x-ms-cp932 x-mac-japanese cp10001",
    "euc-jp": "euc-jp eucjp x-euc x-euc-jp cp51932 cseucpkdfmtjapanese",
    "iso2022-jp": "iso-2022-jp iso2022-jp csiso2022jp -iso-2022-jp -iso-2022-jp$esc"
    " -iso-2022-jp$sio cp50220 cp50221 cp50222 iso-2022-jp-1 iso-2022-jp-2"
    " iso-2022-jp-3 iso-2022-jp-ext",
    "cp949": "euc-kr euckr ks-c-5601 ks-c-5601-1987 ks-c-5601-1989 ksc5601 ksc-5601 korean"
    " windows-949 uhc cseuckr csksc56011987 cp51949 x-mac-korean cp10003",
    "gb18030": "gb2312 gb-2312 gb-2312-80 gb2312-80 gbk x-gbk gb18030 cp936 euc-cn x-euc-cn"
    " cp20936 cp51936 cp54936 chinese csgb2312 csiso58gb231280 x-mac-chinesesimp cp10008",
    "iso2022-kr": "iso-2022-kr csiso2022kr cp50225",
    "hz": "hz-gb-2312 cp52936",
    "cp950": "big5 big-5 x-x-big5 csbig5 cn-big5 windows-950 big5-hkscs big5hkscs"
    " x-mac-chinesetrad cp10002",
    "koi8-r": "koi koi8 koi8r cskoi8r cp20866",
    "koi8-u": "koi8-ru koi8u cp21866",
    "mac-roman": "macintosh x-mac-roman mac cp10000 csmacintosh",
    "mac-cyrillic": "x-mac-cyrillic x-mac-ukrainian cp10007 cp10017",
    "mac-latin2": "x-mac-ce x-mac-centraleurope cp10029",
    "mac-greek": "x-mac-greek cp10006",
    "mac-turkish": "x-mac-turkish cp10081",
    "mac-iceland": "x-mac-icelandic cp10079",
    "mac-croatian": "x-mac-croatian cp10082",
    "mac-romanian": "x-mac-romanian cp10010",
    "mac-arabic": "x-mac-arabic cp10004",
    "mac-farsi": "x-mac-farsi",
}
_FURTHER: Final = {"cp1252": "latin-1", "cp950": "big5hkscs", "euc-jp": "euc-jis-2004"}
"""What to try where a writer went beyond the code page, and the label is still right."""


def _table() -> dict[str, str]:
    table = {}
    for codec in _SAME:
        table[codec] = codec
        table[codec.replace("iso8859", "iso-8859")] = codec
    for codec, labels in _OTHERS.items():
        table.update(dict.fromkeys(labels.split(), codec))
    return table


_CODECS: Final = _table()
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PAGE: Final = re.compile(r"(?:x-)?(?:cp|dos|ibm|oem|windows)-?0*([1-9]\d{2,4})\Z")
_UPPER_ROWS: Final = 0x5F
_UPPER_CELLS: Final = 0x60
_SHIFTED: Final = re.compile(rb"(\x1b\$[@B]|\x1b\([BJI]|[\x0e\x0f])")
_KATAKANA: Final = (b"\x1b(I", b"\x0e")
_LINE: Final = re.compile(rb"([^\r\n]*)(.*)", re.DOTALL)


def _codec(label: str) -> str | None:
    """Return the codec of a label; the names of a code page are many, and its number one."""
    name = label.strip("\"' \t").lower().replace("_", "-").partition(":")[0]
    page = _PAGE.match(name)
    if page is not None:
        name = f"cp{page[1]}"
    return _CODECS.get(name) or _CODECS.get(name.removeprefix("x-"))


def decode_text(data: bytes, label: str | None = None) -> tuple[str, bool]:
    """Return the text, and whether its charset was guessed.  A U+FEFF in front is gone.

    It was guessed where the label is unknown, refused or false, or where there is none
    and the bytes are not plain ASCII (RFC 2045, section 5.2).
    """
    if label == "utf-8":
        try:
            return data.decode().removeprefix("\ufeff"), False
        except UnicodeError:
            pass
    if not label or label == "us-ascii":
        # Not `in`, which takes the bytes for a number first, and fails at it.
        if data.isascii() and data.find(b"\x1b$") < 0 and data.find(b"\0") < 0:
            return data.decode("ascii"), False
        codec = None
    else:
        codec = _codec(label)
    guessed = codec is None
    marked = _by_mark(data)
    if marked is not None:
        codec, guessed = marked, codec not in {marked, marked[:6]}
    text = None if codec is None else _strictly(data, codec)
    if text is None:
        text, guessed = _guess(data), True
    return text.removeprefix("\ufeff"), guessed


def _by_mark(data: bytes) -> str | None:
    if data[:1] not in b"\xef\xff\xfe\x00":
        return None
    return next((codec for mark, codec in _BOMS if data.startswith(mark)), None)


def _strictly(data: bytes, codec: str) -> str | None:
    if codec == "iso2022-jp":
        return _japanese(data)
    if codec.startswith("utf-16"):
        data = data[: len(data) & ~1]
        if codec == "utf-16":
            codec = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    for name in (codec, _FURTHER.get(codec)):
        if name is not None:
            try:
                return _hz(data) if name == "hz" else data.decode(name)
            except UnicodeError:
                continue
    return None


def _hz(data: bytes) -> str:
    """Decode HZ line by line: a tilde at the end would join a line with the next (RFC 1843)."""
    return "\n".join(line.decode("hz") for line in data.split(b"\n"))


def _guess(data: bytes) -> str:
    if b"\x1b$" in data and data.isascii() and (text := _japanese(data)) is not None:
        return text
    for codec in ("utf-8", "cp1252"):
        try:
            return data.decode(codec)
        except UnicodeError:
            continue
    return data.decode("latin-1")


def _japanese(data: bytes) -> str | None:
    """Decode ISO-2022-JP with the characters of NEC and IBM that Microsoft puts in it.

    Python's codec knows none of those, nor katakana shifted in with SO; each double-byte
    run is read as code page 932.  A run that nothing ends, ends with its line.
    """
    if b"\x0e" not in data:
        try:
            return data.decode("iso2022_jp_ext")
        except UnicodeError:
            pass
    pieces = _SHIFTED.split(data)
    try:
        runs = [_run(*each) for each in zip(pieces[1::2], pieces[2::2], strict=True)]
        return pieces[0].decode("ascii") + "".join(runs)
    except ValueError:
        return None


def _run(shift: bytes, run: bytes) -> str:
    """Return the text of a run; raises `ValueError` for what is none, or half a character."""
    if shift in _KATAKANA:
        return bytes(octet | 0x80 if octet > ord(" ") else octet for octet in run).decode("cp932")
    if not shift.startswith(b"\x1b$"):
        return run.decode("ascii")
    double, rest = _LINE.match(run).groups()  # type: ignore[union-attr]  # it matches anything
    pairs = zip(double[::2], double[1::2], strict=True)
    return b"".join(_shift_jis(high, low) for high, low in pairs).decode("cp932") + rest.decode(
        "ascii"
    )


def _shift_jis(high: int, low: int) -> bytes:
    """Turn a JIS X 0208 code into the Shift JIS one (both in the rows 0x21 to 0x7E)."""
    lead = (high + 1) // 2 + (0x70 if high < _UPPER_ROWS else 0xB0)
    trail = low + (0x1F if low < _UPPER_CELLS else 0x20) if high % 2 else low + 0x7E
    return bytes((lead & 0xFF, trail & 0xFF))

"""Whose address is this: maps from addresses to users, and the directories behind them.

A map is anything with the one method of `mailarchive.abc.UserMap`.  It is asked once for
all addresses of a batch; an address that it does not know is absent from the answer, and
what becomes of mail to it is decided elsewhere (`mailarchive.attribution.Unknown`).

All maps here look an address up by what it means, not by how it is spelled: without case,
without a prefix as in `SMTP:` or `x500:`, and an encapsulated X.500 name (`IMCEAEX-...`) as
the name inside it.
"""

from __future__ import annotations

from mailarchive.users._addresses import canonical, legacy_dn
from mailarchive.users._cached import Cached
from mailarchive.users._combined import FirstOf, Merged
from mailarchive.users._directory import DirectoryMap
from mailarchive.users._pattern import PatternMap
from mailarchive.users._static import StaticMap

__all__ = [
    "Cached",
    "DirectoryMap",
    "FirstOf",
    "Merged",
    "PatternMap",
    "StaticMap",
    "canonical",
    "legacy_dn",
]

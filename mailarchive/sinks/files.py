"""Archives that are files: a tree of `.eml`, a Maildir, an mbox.

For getting mail out, and for whoever wants nothing but files.  They hold the raw bytes of
each entry, and nothing of what the archive knows beside them: neither owners nor views.
All three are written so that an acknowledged entry survives a loss of power (on Linux;
elsewhere the end of the process), give back every byte, and store an entry once however
often it is put.  Nothing that stands in a mail becomes a name.

`mailarchive.sources.files` reads them.
"""

from __future__ import annotations

from mailarchive.sinks._files_eml import EmlTree
from mailarchive.sinks._files_maildir import MaildirTree
from mailarchive.sinks._files_mbox import MboxFile

__all__ = ["EmlTree", "MaildirTree", "MboxFile"]

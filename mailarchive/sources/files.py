"""Mail that is already in files: a folder of `.eml`, a Maildir, an mbox.

All three read and never write, give back the bytes as they are stored, and resume: a scan
after a token lists what the token did not cover, however old its dates and names are.
They use neither `mailbox` nor `email`, which write messages anew.

Guarantee of `EmlFolder` and `Maildir`: a file is listed unless an earlier page of the same
folder has listed it; then it is not listed again while it stays there (an `.eml` file is,
where its size or time of change became another one).  It rests on names, not on clocks, so
a file moved in with an old date, from another disk or out of a backup is found like a new
one.  The price is a token of 16 characters for each file of a folder, and about 200 bytes
of memory.
"""

from __future__ import annotations

from mailarchive.sources._files_eml import EmlFolder
from mailarchive.sources._files_limits import FileLimits
from mailarchive.sources._files_maildir import Maildir
from mailarchive.sources._files_mbox import Mbox
from mailarchive.sources._files_mbox_scan import MboxVariant

__all__ = ["EmlFolder", "FileLimits", "Maildir", "Mbox", "MboxVariant"]

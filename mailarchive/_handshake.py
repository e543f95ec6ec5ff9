"""What an end in the middle of a TLS handshake says, for every protocol above it."""

from __future__ import annotations

import ssl
from typing import Final

HUNG_UP: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""An end without a word, as of a server that starts, or has no room, or closed a connection
that was kept: no setting is wrong for that, and what may be over in a moment is tried again.
What speaks no TLS says so, or says something else."""

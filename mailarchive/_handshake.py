"""What a TLS handshake that fails says, for every protocol above it."""

from __future__ import annotations

import ssl
from typing import Final

HUNG_UP: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""An end without a word, as of a server that starts, or has no room, or closed a connection
that was kept: no setting is wrong for that, and what may be over in a moment is tried again.
What speaks no TLS says so, or says something else."""

OTHER_NAME: Final = frozenset({62, 64})
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""

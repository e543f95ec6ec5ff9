"""The test kit: fakes, builders, laws and loopback servers, for your test suite as for ours.

Import the module you need; each says what it needs beside the standard library.
`messages` and `reports` build mail from nothing but their arguments, and `strategies`
needs hypothesis (`pip install 'mailarchive[testing]'`).
"""

from __future__ import annotations

"""`python -m mailarchive`."""

from __future__ import annotations

import sys

from mailarchive._cli import main

if __name__ == "__main__":
    sys.exit(main())

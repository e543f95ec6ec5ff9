"""What several test modules share; on the path as `support`."""

from __future__ import annotations

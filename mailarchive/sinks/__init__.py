"""Archives other than the vault, each in a module of its own, and what combines them."""

from __future__ import annotations

from mailarchive.sinks.combined import ReadBack, Router, Tee, sink

__all__ = ["ReadBack", "Router", "Tee", "sink"]

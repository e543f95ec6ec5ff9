"""A fresh world for each test."""

from __future__ import annotations

import pytest
from support.world import World


@pytest.fixture
def world() -> World:
    """A world with nothing in it."""
    return World()

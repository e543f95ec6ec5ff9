"""Sphinx configuration."""

from __future__ import annotations

project = "mailarchive"
author = "the mailarchive developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.intersphinx"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "mailarchive"
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
nitpicky = False

"""How the documents become a site: ``make site`` writes it to build/site, and fails on any warning.

The source folder is the whole checkout, so that the documents read the same in a browser of files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pygments.lexers.special import TextLexer

import framelet

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "Framelet"
author = "The Framelet authors"
release = version = framelet.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
]
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "spec/*.md",
    "spec/framelet_conformance/*.md",
    "spec/vectors/README.md",
    "tests/mutants/RESULTS.md",
    "tests/simulation/RESULTS.md",
    "benchmarks/ROUNDS.md",
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"),
]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}

html_theme = "furo"
html_show_copyright = False
html_title = f"Framelet {release}"
html_theme_options = {"navigation_with_keys": True}


def _link_to_documents_alone(app: Sphinx, name: str, source: list[str]) -> None:
    """Show a link to a folder of the checkout as its text, or link to the folder's README."""

    def shown(link: re.Match[str]) -> str:
        folder = Path(app.srcdir, name).parent / link[2]
        if not folder.is_dir():
            return link[0]
        return f"[{link[1]}]({link[2]}/README.md)" if (folder / "README.md").exists() else link[1]

    source[0] = re.sub(r"\[([^]]+)\]\(([^):#]+)\)", shown, source[0])


def setup(app: Sphinx) -> None:
    """Register what this file adds to Sphinx."""
    app.add_lexer("wire", TextLexer)
    app.connect("source-read", _link_to_documents_alone)

"""How Sphinx builds the docs: every warning is an error, every reference inside must lead somewhere."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import generate  # noqa: E402  # it lies here
import openapi  # noqa: E402

import flask_profiling  # noqa: E402

project = "flask-profiling-devtools"
author = "The flask-profiling-devtools contributors"
copyright = author
version = release = flask_profiling.__version__

extensions = ["sphinx.ext.autodoc", "figures"]  # the latter lies here
exclude_patterns = ["_build"]
highlight_language = "text"
nitpicky = True
# what other projects document; their pages are not fetched to build ours
nitpick_ignore_regex = [
    ("py:.*", r"(flask|werkzeug|pstats|typing|collections|contextlib|pathlib)(\..*)?"),
    ("py:class", r"flask_profiling\.model\..*"),  # data that travels, described where it is written
    ("py:.*", r"(Path|Flask|Blueprint|Iterator|Mapping|Iterable|Callable|BinaryIO|Exception|ValueError|KeyError)"),
]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"

html_title = f"{project} {version}"
html_theme = "flask" if find_spec("pallets_sphinx_themes") else "alabaster"
if html_theme == "flask":
    extensions.append("pallets_sphinx_themes")
    html_sidebars = {"**": ["localtoc.html", "relations.html", "searchbox.html"]}


class Generated(SphinxDirective):
    """``.. generated:: NAME``: a part of the reference, made of the code."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parse what :data:`generate.PARTS` returns."""
        text = generate.PARTS[self.arguments[0]]()
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def write_description(app: Sphinx, error: Exception | None) -> None:
    """Put ``openapi.json`` beside the pages."""
    if error is None and app.builder.format == "html":
        text = json.dumps(openapi.description(), indent=2)
        (Path(app.outdir) / "openapi.json").write_text(text + "\n", "utf-8")


def setup(app: Sphinx) -> None:
    """Add the directive, and write the description when the pages are there."""
    app.add_directive("generated", Generated)
    app.connect("build-finished", write_description)

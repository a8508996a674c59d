"""Pictures of the documentation, where the tests in a browser have taken them: ``.. picture:: NAME`` is a figure of
``pictures/NAME.png`` where there is one, and nothing at all where not. They are never kept with the source."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Picture(SphinxDirective):
    """``.. picture:: NAME`` with ``:alt:`` and a caption."""

    required_arguments = 1
    option_spec: ClassVar = {"alt": directives.unchanged_required}
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the figure, or nothing."""
        name = f"pictures/{self.arguments[0]}.png"
        file = Path(self.env.srcdir) / name
        self.env.note_dependency(str(file))
        if not file.is_file():
            return []
        lines = [f".. figure:: /{name}", f"   :alt: {self.options['alt']}", "   :width: 100%", ""]
        return self.parse_text_to_nodes("\n".join([*lines, *(f"   {line}" for line in self.content)]))


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("picture", Picture)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

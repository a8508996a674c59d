"""The README is true: every command in it is run, its settings are those of the code, and it renders.

``python -m tests.test_readme`` writes the table of settings anew.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

from flask_profiling.config import SETTINGS
from tests.components import requires
from tests.ports import free_port

PROJECT = Path(__file__).parents[1]
README = PROJECT / "README.rst"
BEGIN, END = ".. configuration table: begin\n", ".. configuration table: end\n"

# Commands that are not run as they stand: what stands for them here.
INSTEAD = {
    "pip install flask-profiling-devtools": "python -c 'import flask_profiling'",
    "flask run &": "flask run & server=$!\n"
    "for _ in $(seq 200); do curl -s -o /dev/null http://127.0.0.1:5000/ && break; sleep 0.1; done",
}


def blocks(language: str) -> list[str]:
    """Return the code blocks of a language, dedented."""
    pattern = rf"^\.\. code-block:: {language}\n\n((?:    .*\n|\n)+)"
    return [textwrap.dedent(block) for block in re.findall(pattern, README.read_text("utf-8"), re.MULTILINE)]


def commands() -> list[str]:
    """Return every command line of the README, in order."""
    return [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines() if line.strip()]


def table() -> str:
    """Return the table of settings in reStructuredText."""
    rows = [("key", "default", "meaning")]
    rows += [
        (f"``{setting.key}``", f"``{setting.default}``" if setting.default else "", setting.meaning)
        for setting in SETTINGS
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def with_table(text: str) -> str:
    """Return the README's text with the table as the code has it."""
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    return f"{head}{BEGIN}\n{table()}\n\n{END}{tail}"


def test_the_table_of_settings_is_that_of_the_code() -> None:
    text = README.read_text("utf-8")
    assert text == with_table(text), "run: python -m tests.test_readme"


@requires("curl", "asgiref")
def test_every_command_works_in_the_order_given(tmp_path: Path) -> None:
    (app,) = blocks("python")
    (tmp_path / "app.py").write_text(app)
    port = free_port()
    script = "\n".join(
        ["set -euo pipefail", "trap 'kill $server' EXIT", *(INSTEAD.get(line, line) for line in commands())]
    )
    path = [str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "PROFILING_"))}
    environment |= {
        "FLASK_RUN_PORT": str(port),
        "PROFILING_URL": f"http://127.0.0.1:{port}",
        "PATH": os.pathsep.join(path),
    }
    finished = subprocess.run(
        ["bash", "-c", script.replace("127.0.0.1:5000", f"127.0.0.1:{port}")],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert '"message": "Profiling session stopped"' in finished.stdout
    assert "profiling/profile-prof-" in finished.stdout


def test_every_command_is_known_to_the_group() -> None:
    names = {line.split()[2] for line in commands() if line.startswith("flask profiling")}
    assert {"start-session", "stop-session", "status", "reports", "clean", "config", "help"} <= names


if __name__ == "__main__":
    README.write_text(with_table(README.read_text("utf-8")), "utf-8")

"""Which files of the application DevTools may show, and under which number; only what appears in a profile is known."""

from __future__ import annotations

import io
import json
import tokenize
from pathlib import Path
from urllib.parse import unquote

_MOST_BYTES = 2 << 20
_OTHERS = frozenset({"site-packages", "dist-packages"})


class Sources:
    """The scripts of one conversation, by number.

    ``root`` is the directory of the application; without it no profile is changed and no file is ever shown.
    """

    def __init__(self, root: Path | None) -> None:
        self._root = None if root is None else root.resolve()
        self._numbers: dict[tuple[str, str], str] = {}
        self._files: dict[str, Path] = {}
        # number -> the parameters of a ``Debugger.scriptParsed``, for each script that may be shown
        self.parsed: dict[str, dict[str, object]] = {}

    def adopt(self, profile: str) -> str:
        """Number the scripts of a CPU profile through all profiles of the conversation, and return it so."""
        if self._root is None:
            return profile
        document = json.loads(profile)
        for node in document["nodes"]:
            frame = node["callFrame"]
            key = (frame["url"], frame["scriptId"])
            number = self._numbers.get(key)
            if number is None:
                number = self._numbers[key] = str(len(self._numbers) + 1)
                self._parse(number, frame["url"])
            frame["scriptId"] = number
        return json.dumps(document, ensure_ascii=True, separators=(",", ":"))

    def text(self, number: str) -> str | None:
        """Return the source text of a script, or None where it is not known or cannot be read."""
        path = self._files.get(number)
        return None if path is None or not self._is_ours(path) else _read(path)

    def _parse(self, number: str, url: str) -> None:
        if not url.startswith("file://"):
            return
        path = Path(unquote(url.removeprefix("file://"), errors="surrogateescape"))
        if not self._is_ours(path):
            return
        content = _read(path)
        if content is None:
            return
        self._files[number] = path
        self.parsed[number] = {
            "scriptId": number,
            "url": url,
            "startLine": 0,
            "startColumn": 0,
            "endLine": content.count("\n"),
            "endColumn": 0,
            "executionContextId": 1,
            "hash": "",
            "length": len(content),
            "scriptLanguage": "JavaScript",
        }

    def _is_ours(self, path: Path) -> bool:
        """Tell whether a path leads to Python source inside the root (links followed) and in no installed package."""
        try:
            real = path.resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            return False
        if self._root is None or real.suffix != ".py" or not real.is_relative_to(self._root):
            return False
        return _OTHERS.isdisjoint(real.parts) and real.is_file()


def _read(path: Path) -> str | None:
    """Return the text of a Python file, or None where it is too long or is none."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            return None
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding)
    except (OSError, SyntaxError, ValueError):
        return None

"""What visitors ask for: a weighted mix of paths, or steps in order with values captured on the way; nothing is sent.

A scenario file is JSON: ``{"mix": [request, …]}`` sends independent requests in proportion to their ``weight``,
``{"steps": [request, …]}`` makes every visitor go through them in order, over and over. A request has a ``path`` and
may have ``method``, ``headers``, one of ``json``, ``form`` and ``text`` as its body, ``name`` (how it is listed), and
in steps ``capture``: ``{"order": {"header": "Location"}}``, ``{"json": "items.0.id"}`` or ``{"regex": "id=(\\\\d+)"}``;
``${order}`` then stands for the value in later paths, headers and bodies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

from ..errors import BadRequest

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
MOST_WEIGHT = 1000
SIZE_LIMIT = 1_000_000
_FIELDS = {"name", "method", "path", "headers", "json", "form", "text", "weight", "capture"}
_BODIES = ("json", "form", "text")
_SOURCES = ("header", "json", "regex")
_HOLE = re.compile(r"\$\{(\w+)\}")
_PATH = re.compile(r"/[\x21-\x7e]*")
_PATH_WITH_HOLE = re.compile(r"\$\{\w+\}[\x21-\x7e]*")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?%?", re.ASCII | re.IGNORECASE)
_WEIGHT = re.compile(r"\d{1,4}", re.ASCII)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True)
class Capture:
    """Where a value is taken from: ``source`` is ``header``, ``json`` (a dotted path) or ``regex`` (its group 1)."""

    name: str
    source: str
    where: str

    def value(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Return the value in an answer, or None where it is not there."""
        if self.source == "header":
            return headers.get(self.where.lower())
        if self.source == "regex":
            match = re.search(self.where, body.decode("utf-8", "replace"))
            return match[1] if match else None
        try:
            found: object = json.loads(body)
            for part in self.where.split("."):
                found = found[int(part)] if isinstance(found, list) else found[part]  # type: ignore[index]
        except (ValueError, LookupError, TypeError, RecursionError):
            return None
        return found if isinstance(found, str) else json.dumps(found)


@dataclass(frozen=True, slots=True)
class Step:
    """One request as it is written; ``body`` and the rest may have holes ``${name}``."""

    label: str
    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: str | None = None
    weight: int = 1
    captures: tuple[Capture, ...] = ()

    def holes(self) -> set[str]:
        """Return the names of the values that it needs."""
        texts = [self.path, self.body or "", *(value for _, value in self.headers)]
        return {name for text in texts for name in _HOLE.findall(text)}


@dataclass(frozen=True, slots=True)
class Scenario:
    """Steps, and whether visitors take them in order or in proportion to their weights."""

    steps: tuple[Step, ...]
    in_order: bool = False
    _cycle: tuple[Step, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_cycle", self.steps if self.in_order else tuple(_interleaved(self.steps)))

    def evenly(self) -> Scenario:
        """Return the same with no weights: every step as often as any other."""
        return Scenario(tuple(replace(step, weight=1) for step in self.steps), self.in_order)

    def step(self, number: int) -> Step:
        """Return the step of request ``number``: for steps in order, the number of the visitor's own requests."""
        return self._cycle[number % len(self._cycle)]


def filled(text: str, values: Mapping[str, str]) -> str:
    """Put captured values into the holes of a text."""
    return _HOLE.sub(lambda match: values[match[1]], text) if "${" in text else text


def from_paths(paths: Sequence[str]) -> Scenario:
    """Read ``/a=3`` as path and weight; ``/a?b=3`` is a path, ``/a?b=3=2`` one of weight 2. Raises BadRequest, also for
    a number that is no weight, such as ``/a=0.5``."""
    steps = []
    for text in paths:
        path, equals, number = text.rpartition("=")
        in_query = "?" in path and "=" not in path.partition("?")[2].rpartition("&")[2]
        if not equals or in_query or not _NUMBER.fullmatch(number):
            path, number = text, "1"
        if not _PATH.fullmatch(path):
            raise BadRequest(f"{path[:100]!r} is no path; write one such as /products?page=2, in ASCII, or /products=3")
        if not _WEIGHT.fullmatch(number) or not 1 <= int(number) <= MOST_WEIGHT:
            given = f"the weight in {text[:100]!r} is no whole number from 1 to {MOST_WEIGHT}"
            raise BadRequest(f"{given}; write one such as {path[:100]}=3")
        steps.append(Step(f"GET {path}", "GET", path, weight=int(number)))
    return Scenario(tuple(steps))


def parse_scenario(data: bytes, name: str) -> Scenario:
    """Read a scenario file called ``name``; raises BadRequest with the line and the reason of the first mistake."""
    if len(data) > SIZE_LIMIT:
        raise BadRequest(f"{name} is larger than {SIZE_LIMIT // 1000} KB; a scenario is a page of JSON")
    try:
        text = data.decode("utf-8-sig")
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadRequest(f"{name}, line {error.lineno}: not JSON ({error.msg}); correct it") from None
    except (ValueError, RecursionError):
        raise BadRequest(f"{name}, line 1: not UTF-8 text with JSON in it; correct it") from None
    keys = set(document) if isinstance(document, dict) else set()
    if keys not in ({"mix"}, {"steps"}):
        raise BadRequest(f'{name}, line 1: there must be one object with either "mix" or "steps", and nothing else')
    (key,) = keys
    rows = document[key]
    if not isinstance(rows, list) or not rows:
        raise BadRequest(f'{name}, line 1: "{key}" must be a list of at least one request')
    places = _places(text, key)
    steps: list[Step] = []
    known: set[str] = set()
    for row, place in zip(rows, places, strict=True):
        reader = _Reader(row, in_order=key == "steps", wrong=_complaint(text, name, place))
        step = reader.step()
        missing = step.holes() - known
        if missing:
            raise reader.wrong("path", f"${{{min(missing)}}} is not captured by an earlier step")
        known |= {capture.name for capture in step.captures}
        steps.append(step)
    return Scenario(tuple(steps), in_order=key == "steps")


class _Reader:
    """Reads one request of a file."""

    def __init__(self, row: object, *, in_order: bool, wrong: Callable[[str, str], BadRequest]) -> None:
        self.wrong = wrong
        self._in_order = in_order
        if not isinstance(row, dict):
            raise wrong("", "a request must be an object")
        self._row = row

    def step(self) -> Step:
        row = self._row
        for key in row:
            if key not in _FIELDS:
                raise self.wrong(key, f"{key!r} is not known; there are {', '.join(sorted(_FIELDS))}")
        method, path = row.get("method", "GET"), row.get("path")
        if method not in METHODS:
            raise self.wrong("method", f"the method must be one of {', '.join(METHODS)}")
        if not isinstance(path, str) or not (_PATH.fullmatch(path) or _PATH_WITH_HOLE.fullmatch(path)):
            raise self.wrong("path", "the path must be text that starts with / and has no spaces")
        body, kind = self._body()
        headers = self._headers()
        if kind and not any(name.lower() == "content-type" for name, _ in headers):
            headers = (*headers, ("Content-Type", kind))
        label = row.get("name", f"{method} {path}")
        if not isinstance(label, str) or not label:
            raise self.wrong("name", "the name must be text")
        return Step(label[:100], method, path, headers, body, self._weight(), tuple(self._captures()))

    def _body(self) -> tuple[str | None, str]:
        given = [name for name in _BODIES if name in self._row]
        if not given:
            return None, ""
        if len(given) > 1:
            raise self.wrong(given[1], f"only one of {', '.join(_BODIES)} can be the body")
        value = self._row[given[0]]
        if given == ["json"]:
            return json.dumps(value), "application/json"
        if given == ["text"] and isinstance(value, str):
            return value, "text/plain; charset=utf-8"
        if given == ["form"] and isinstance(value, dict):
            return urlencode(value, safe="${}"), "application/x-www-form-urlencoded"
        raise self.wrong(given[0], "a form must be an object, a text must be text")

    def _headers(self) -> tuple[tuple[str, str], ...]:
        headers = self._row.get("headers", {})
        if not isinstance(headers, dict):
            raise self.wrong("headers", "the headers must be an object of texts")
        for name, value in headers.items():
            if (
                not _HEADER_NAME.fullmatch(name)
                or not isinstance(value, str)
                or not re.fullmatch(r"[\t\x20-\x7e]*", value)
            ):
                raise self.wrong(name, f"the header {name[:40]!r} must be ASCII text on one line")
        return tuple(headers.items())

    def _weight(self) -> int:
        weight = self._row.get("weight", 1)
        if "weight" in self._row and self._in_order:
            raise self.wrong("weight", "steps are taken in order and have no weight; a mix has")
        if not isinstance(weight, int) or isinstance(weight, bool) or not 1 <= weight <= MOST_WEIGHT:
            raise self.wrong("weight", f"the weight must be a whole number from 1 to {MOST_WEIGHT}")
        return weight

    def _captures(self) -> Iterator[Capture]:
        captures = self._row.get("capture", {})
        if "capture" in self._row and not self._in_order:
            raise self.wrong("capture", "requests of a mix know nothing of each other; capture in steps")
        if not isinstance(captures, dict):
            raise self.wrong("capture", "capture must be an object of names")
        for name, rule in captures.items():
            if not re.fullmatch(r"\w+", name):
                raise self.wrong("capture", f"{name[:40]!r} is no name; use letters, digits and _")
            if not isinstance(rule, dict) or len(rule) != 1 or not set(rule) <= set(_SOURCES):
                raise self.wrong(name, f"a capture must be an object with one of {', '.join(_SOURCES)}")
            ((source, where),) = rule.items()
            if not isinstance(where, str) or not where:
                raise self.wrong(name, f"{source} must be text")
            if source == "regex":
                self._check_pattern(name, where)
            yield Capture(name, source, where)

    def _check_pattern(self, name: str, pattern: str) -> None:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise self.wrong(name, f"the pattern cannot be used ({error})") from None
        if groups != 1:
            raise self.wrong(name, "the pattern must have exactly one group in parentheses")


def _interleaved(steps: Sequence[Step]) -> Iterator[Step]:
    """Spread the steps evenly by their weights, the same way every time: the one that lags most comes next."""
    total = sum(step.weight for step in steps)
    lag = [0] * len(steps)
    for _ in range(total):
        for index, step in enumerate(steps):
            lag[index] += step.weight
        chosen = max(range(len(steps)), key=lambda index: lag[index])
        lag[chosen] -= total
        yield steps[chosen]


def _places(text: str, key: str) -> list[tuple[int, int]]:
    """Return begin and end of each element of the list under ``key`` of a document with one key that does parse."""
    if f'"{key}"' not in text:  # the key is written with escapes: there is no better place than the whole file
        return [(0, len(text))] * len(json.loads(text)[key])
    decoder = json.JSONDecoder()
    position = text.index("[", text.index(f'"{key}"'))
    places = []
    while text[position] != "]":
        begin = _past_space(text, position + 1)
        end = decoder.raw_decode(text, begin)[1]
        places.append((begin, end))
        position = _past_space(text, end)
    return places


def _past_space(text: str, position: int) -> int:
    while text[position] in " \t\n\r":
        position += 1
    return position


def _complaint(text: str, name: str, place: tuple[int, int]) -> Callable[[str, str], BadRequest]:
    """Return what makes the error for a field of the request at ``place``, with its line."""

    def wrong(field: str, reason: str) -> BadRequest:
        found = text.find(json.dumps(field), *place) if field else -1
        line = text.count("\n", 0, place[0] if found < 0 else found) + 1
        return BadRequest(f"{name}, line {line}: {reason}")

    return wrong

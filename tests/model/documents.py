"""JSON documents as others may have left them: any value, and good documents with one value exchanged. No tests."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

Path = tuple[str | int, ...]

# What the standard library's reader makes of a document: it knows NaN, infinities and whole numbers of any size.
anything: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**310)
    | st.floats()
    | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def through_json(value: object) -> Any:
    """Return what is read of what was written."""
    return json.loads(json.dumps(value))


def places(document: object, above: Path = ()) -> list[Path]:
    """Return the path of every value in a document, the whole first."""
    found = [above]
    if isinstance(document, (dict, list)):
        for key, value in document.items() if isinstance(document, dict) else enumerate(document):
            found += places(value, (*above, key))
    return found


def damaged(document: object) -> st.SearchStrategy[Any]:
    """Draw the document with the value at one place exchanged for anything, or taken out."""
    return st.builds(
        lambda place, value, is_gone: _exchanged(document, place, value, is_gone=is_gone),
        st.sampled_from(places(document)),
        anything,
        st.booleans(),
    )


def _exchanged(document: object, place: Path, value: object, *, is_gone: bool) -> Any:
    if not place:
        return value
    copy = through_json(document)
    holder = copy
    for key in place[:-1]:
        holder = holder[key]
    if is_gone:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    return copy

"""Which function of one recording is which of another, where lines moved or the checkout lies elsewhere; nothing is
compared here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..model import Function, SessionRecording
from .runs import called_names, functions, renamed, renamed_modules


@dataclass(frozen=True, slots=True)
class Pairing:
    """``same`` maps functions of the base to those of the new recording, as far as both have them; ``names`` says how
    a verdict calls each function of either; ``unsure`` functions share their name with others and match none."""

    same: Mapping[Function, Function]
    names: Mapping[Function, str]
    unsure: int


def paired(base: SessionRecording, new: SessionRecording) -> Pairing:
    """Pair the functions of two recordings by module and name.

    Of several with one name in one file (two ``__init__``), those on the same lines belong together where all are;
    else those that call the most alike; else those in the same order, where there are as many. The others match none.
    """
    before, after = functions(base), functions(new)
    modules = renamed_modules(after.values(), before.values())
    after = {function: renamed(name, modules) for function, name in after.items()}
    called = called_names(base), called_names(new)
    old, now = _by_name(before), _by_name(after)
    same: dict[Function, Function] = {}
    unsure = 0
    for name, functions_before in old.items():
        if name not in now:
            continue
        found = _matched(functions_before, now[name], called)
        same |= found
        unsure += len(functions_before) - len(found)
    return Pairing(same, {**before, **after}, unsure)


_Called = tuple[Mapping[Function, frozenset[str]], Mapping[Function, frozenset[str]]]


def _matched(before: Sequence[Function], after: Sequence[Function], called: _Called) -> dict[Function, Function]:
    """Pair functions of one name, in the order of their lines."""
    one_each = len(before) == len(after) == 1
    if one_each or [function.line for function in before] == [function.line for function in after]:
        return dict(zip(before, after, strict=True))
    alike = sorted(
        (
            (-share, abs(place - other), one, two)
            for place, one in enumerate(before)
            for other, two in enumerate(after)
            if (share := _alike(called[0].get(one, frozenset()), called[1].get(two, frozenset())))
        ),
    )
    found: dict[Function, Function] = {}
    taken: set[Function] = set()
    for _, _, one, two in alike:
        if one not in found and two not in taken:
            found[one] = two
            taken.add(two)
    left = [function for function in before if function not in found]
    others = [function for function in after if function not in taken]
    if len(left) == len(others):
        found |= dict(zip(left, others, strict=True))
    return found


def _alike(one: frozenset[str], two: frozenset[str]) -> float:
    """Return how much of what either calls both call, from 0 to 1."""
    return len(one & two) / len(one | two) if one and two else 0.0


def _by_name(names: Mapping[Function, str]) -> dict[str, list[Function]]:
    found: dict[str, list[Function]] = {}
    for function in sorted(names, key=lambda function: (function.line, function)):
        found.setdefault(names[function], []).append(function)
    return found

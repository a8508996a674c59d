"""Which function is which: by module and name, whatever the lines and the checkout; several of one name by what they
call."""

from __future__ import annotations

from flask_profiling.compare import compare, paired, summarise
from flask_profiling.compare.thresholds import Rules
from flask_profiling.model import Function
from tests.compare.recordings import MODEL, QUERY, VIEW, page, recording
from tests.compare.recordings import Edges as _Edges

ROUTE = "GET / [pages.products]"


def at(line: int, name: str = "<listcomp>", file: str = "/srv/app/shop/pages.py") -> Function:
    return Function(file, line, name)


def test_functions_whose_lines_moved_are_the_same() -> None:
    later = Function(VIEW.file, VIEW.line + 40, VIEW.name)
    pairing = paired(recording(page(2)), recording({ROUTE: {(None, later): 1, (later, MODEL): 2}}))
    assert pairing.same == {VIEW: later, MODEL: MODEL}
    assert pairing.names[VIEW] == pairing.names[later] == "pages:products"
    assert pairing.names[QUERY] == "sqlalchemy.engine:execute"
    assert pairing.unsure == 0


def test_another_checkout_has_the_same_functions_under_the_names_of_the_verdict() -> None:
    def elsewhere(function: Function) -> Function:
        return Function(function.file.replace("/srv/app", "/home/me/work"), function.line, function.name)

    base = recording(page(2))
    edges: _Edges = {(None, elsewhere(VIEW)): 10, (elsewhere(VIEW), elsewhere(MODEL)): 900}
    new = recording({ROUTE: edges})
    pairing = paired(base, new)
    assert pairing.same[MODEL] == elsewhere(MODEL)
    verdict = compare([summarise(base)], summarise(new), Rules.default())
    assert {change.name for change in verdict.changes} <= set(pairing.names.values())


def test_of_several_with_one_name_those_that_call_the_same_belong_together() -> None:
    base = recording({ROUTE: {(None, VIEW): 1, (VIEW, at(50)): 1, (at(50), MODEL): 1}})
    edges: _Edges = {
        (None, VIEW): 1,
        (VIEW, at(50)): 1,
        (VIEW, at(51)): 1,
        (at(50), QUERY): 1,
        (at(51), MODEL): 1,
    }
    pairing = paired(base, recording({ROUTE: edges}))
    assert pairing.same[at(50)] == at(51), "what stands on the old line now is the new one"
    assert pairing.unsure == 0


def test_of_as_many_as_before_the_order_decides() -> None:
    base = recording({ROUTE: {(None, at(50)): 1, (None, at(60)): 1}})
    new = recording({ROUTE: {(None, at(55)): 1, (None, at(65)): 1}})
    assert paired(base, new).same == {at(50): at(55), at(60): at(65)}


def test_where_nobody_knows_none_is_taken_for_another() -> None:
    base = recording({ROUTE: {(None, at(50)): 1}})
    new = recording({ROUTE: {(None, at(55)): 1, (None, at(65)): 1}})
    pairing = paired(base, new)
    assert pairing.same == {}
    assert pairing.unsure == 1

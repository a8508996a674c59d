"""The heap engine: true counts, names and sizes, the same ids every time."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .heaps import Snapshot, run

pytestmark = pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="a snapshot needs fork")

LEAK = """
import types
planted = sys.modules["planted"] = types.ModuleType("planted")
exec('''
LEAK = []
class Leaked:
    def __init__(self, number):
        self.number = number
        self.body = [number]
''', planted.__dict__)
for number in range(57):
    planted.LEAK.append(planted.Leaked(number + 100_000))
"""


@pytest.fixture(scope="module")
def leak(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    spool = tmp_path_factory.mktemp("leak") / "spool"
    run(LEAK + "snapshot('a')", spool)
    return Snapshot(spool / "a.heapsnapshot")


def test_a_planted_leak_has_its_true_count(leak: Snapshot) -> None:
    assert leak.count("planted.Leaked") == 57


def test_the_way_from_the_module_to_a_leaked_object_is_readable(leak: Snapshot) -> None:
    node = leak.all("planted.Leaked")[13]
    assert leak.path(node) == ["(modules)", "planted", "__dict__", "LEAK", 13]
    assert leak.names[leak.follow(node, "number")] == "int"
    module = leak.only("<module planted>")
    assert leak.names[leak.follow(module, "__dict__", "LEAK")] == "list"
    assert leak.names[leak.follow(node, "body", 0)] == "int"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="until Python 3.10 every such object has a dict")
def test_objects_that_have_no_dict_get_none_by_being_read(leak: Snapshot) -> None:
    for node in leak.all("planted.Leaked"):
        assert {edge.name for edge in leak.edges(node)} == {"number", "body", "__class__"}


def test_what_builtins_are_called_in_python_they_are_called_here(leak: Snapshot) -> None:
    classes = leak.classes()
    for name in (
        "list",
        "dict",
        "int",
        "str",
        "tuple",
        "bytes",
        "set",
        "weakref.ReferenceType",
        "<module sys>",
        "<class int>",
    ):
        assert classes[name], name
    assert classes["<function Leaked.__init__>" if sys.version_info >= (3, 11) else "<function __init__>"]
    assert {leak.kinds[node] for node in leak.all("list") + leak.all("int") + leak.all("str")} == {"object"}


def test_two_snapshots_differ_by_exactly_what_was_added_and_removed(tmp_path: Path) -> None:
    run(
        LEAK
        + """
snapshot("a")
gone = planted.LEAK.pop()
del gone
kept = [planted.Leaked(number) for number in range(5)]
planted.LEAK.extend(kept)
snapshot("b")
""",
        tmp_path / "spool",
    )
    before, after = (Snapshot(tmp_path / "spool" / f"{name}.heapsnapshot") for name in "ab")
    old, new = ({snapshot.ids[node] for node in snapshot.all("planted.Leaked")} for snapshot in (before, after))
    assert (len(old), len(new)) == (57, 61)
    # a new object may have been made in the very place of one that is gone
    assert len(old - new) <= 1 and len(new - old) == len(old - new) + 4
    shared = {*before.ids} & {*after.ids}
    names = dict(zip(before.ids, before.names, strict=True))
    kept = [name == names[number] for number, name in zip(after.ids, after.names, strict=True) if number in shared]
    assert len(shared) > 0.95 * len(before) and sum(kept) > 0.99 * len(kept)
    assert leak_sizes(before) == leak_sizes(after)


def leak_sizes(snapshot: Snapshot) -> set[int]:
    return {snapshot.sizes[node] for node in snapshot.all("planted.Leaked")}


def test_sizes_are_those_that_python_tells(tmp_path: Path) -> None:
    answers = run(
        """
        class Plain: pass
        class Slots: __slots__ = ("a", "b")
        class Words(list): pass
        class Table(dict): pass
        class Lies:
            def __sizeof__(self): return 10**12
        KEEP = {
            "list": [1, 2, 3], "text": "x" * 1000, "wide": "\\u4e2d" * 99, "tuple": (1, 2),
            "dict": dict.fromkeys(range(99)), "big": 10**100, "bytes": b"y" * 77, "set": {1, 2, 3}, "float": 1.5,
            "plain": Plain(), "slots": Slots(),
            "words": Words([1, 2]), "table": Table(a=1), "function": snapshot, "code": snapshot.__code__,
            "range": range(9),
        }
        LIES = Lies()
        say({name: sys.getsizeof(value) for name, value in KEEP.items()})
        import gc
        gc.collect()
        snapshot("a")
        """,
        tmp_path / "spool",
    )
    taken = Snapshot(tmp_path / "spool/a.heapsnapshot")
    keep = taken.follow(taken.only("<module __main__>"), "__dict__", "KEEP")
    values = [edge.target for edge in taken.edges(keep) if edge.name != "(key)"]
    told = answers[0]
    assert isinstance(told, dict)
    assert dict(zip(told, [taken.sizes[node] for node in values], strict=True)) == told
    assert taken.sizes[taken.only("__main__.Lies")] < 1000


NAMES = """
import collections, functools, types, weakref
class Slotted:
    __slots__ = ("left", "right", "unset")
class Point(collections.namedtuple("Point", "x y")):
    __slots__ = ()
class Words(list):
    pass
class Table(dict):
    pass
class Owner:
    level = 1
    def method(self): return self.level
class Defaulted:
    level = 1
    def __init__(self, index):
        if index % 2:
            self.level = [index]
        self.other = [index]
class Odd:
    def __init__(self, index):
        setattr(self, "first" if index % 2 else "second", [index])
        self.first, self.second
        self.third = [index]
    def __getattr__(self, name): return None
def closing(captured):
    def inner(): return captured
    return inner
def suspended():
    waiting = ["here"]
    yield 1
    return waiting
class Thing: pass
SLOTTED = Slotted(); SLOTTED.left = ["l"]; SLOTTED.right = ["r"]
POINT = Point(["x"], ["y"])
WORDS = Words([["w"]]); WORDS.note = ["n"]
TABLE = Table(level=["t"]); TABLE.note = ["n"]
OWNER = Owner(); OWNER.note = ["n"]
BOUND = OWNER.method
CLOSURE = closing(["c"])
PARTIAL = functools.partial(closing, ["p"])
GENERATOR = suspended(); next(GENERATOR)
TARGET = Thing()
WEAK = weakref.ref(TARGET)
CALLED = weakref.ref(TARGET, print)
CELL = types.CellType(["cell"])
DEFAULTED = [Defaulted(index) for index in range(7)]
ODD = [Odd(index) for index in range(7)]
QUEUE = collections.deque([["q"]])
FACTORY = collections.defaultdict(list, level=["f"])
try:
    raise ValueError(["args"])
except ValueError as error:
    ERROR = error
snapshot("a")
"""


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    spool = tmp_path_factory.mktemp("names") / "spool"
    run(NAMES, spool)
    return Snapshot(spool / "a.heapsnapshot")


@pytest.mark.parametrize(
    "path",
    [
        ("SLOTTED", "left", 0),
        ("SLOTTED", "right", 0),
        ("POINT", 1, 0),
        ("WORDS", 0, 0),
        ("TABLE", "level", 0),
        ("BOUND", "__func__", "__code__", "co_consts"),
        ("CLOSURE", "__closure__", 0, "cell_contents", 0),
        ("PARTIAL", "args", 0, 0),
        ("GENERATOR", "waiting", 0),
        ("CALLED", "(reference)"),
        ("CELL", "cell_contents", 0),
        ("DEFAULTED", 3, "level", 0),
        ("DEFAULTED", 3, "other", 0),
        ("QUEUE", 0, 0),
        ("FACTORY", "level", 0),
        ("FACTORY", "default_factory"),
        ("ERROR", "args", 0, 0),
        ("ERROR", "__traceback__", "tb_frame"),
    ],
)
def test_references_have_the_names_that_python_gives_them(names: Snapshot, path: tuple[str | int, ...]) -> None:
    main = names.follow(names.only("<module __main__>"), "__dict__")
    names.follow(main, *path)


def attributes(snapshot: Snapshot, node: int) -> set[str | int]:
    """Return the names of an object's attributes, wherever this Python keeps them."""
    found = {edge.name: edge.target for edge in snapshot.edges(node)}
    if "__dict__" in found:
        found |= {edge.name: edge.target for edge in snapshot.edges(found["__dict__"])}
    return {*found} - {"__dict__", "__class__", "(key)"}


def test_attributes_are_named_even_where_objects_of_a_class_differ(names: Snapshot) -> None:
    main = names.follow(names.only("<module __main__>"), "__dict__")
    found = [attributes(names, names.follow(main, "ODD", index)) for index in range(7)]
    assert found == [{"first" if index % 2 else "second", "third"} for index in range(7)]
    found = [attributes(names, names.follow(main, "DEFAULTED", index)) for index in range(7)]
    assert found == [{"level", "other"} if index % 2 else {"other"} for index in range(7)]
    assert attributes(names, names.follow(main, "OWNER")) == {"note"}


def test_weak_references_are_weak_edges_to_the_object(names: Snapshot) -> None:
    main = names.follow(names.only("<module __main__>"), "__dict__")
    target = names.follow(main, "TARGET")
    for name in ("WEAK", "CALLED"):
        weak = [edge for edge in names.edges(names.follow(main, name)) if edge.kind == "weak"]
        assert [edge.target for edge in weak] == [target]


def test_locals_of_running_functions_hang_below_their_thread(tmp_path: Path) -> None:
    run(
        """
        import threading
        ready, done = threading.Event(), threading.Event()
        class Held: pass
        def work():
            treasure = Held()
            ready.set()
            done.wait(60)
        def here():
            local = Held()
            snapshot("a")
        thread = threading.Thread(target=work)
        thread.start()
        ready.wait(60)
        here()
        done.set()
        thread.join()
        """,
        tmp_path / "spool",
    )
    taken = Snapshot(tmp_path / "spool/a.heapsnapshot")
    mine, other = sorted(taken.path(node) for node in taken.all("__main__.Held"))
    assert (mine[0], mine[1], mine[-1]) == ("(threads)", "stack of MainThread", "local")
    # from Python 3.13 on the frames of other threads cannot be shown, but what they hold can
    assert other[0] == "(threads)"
    assert other[1:] in (
        ["stack of Thread-1", "f_back", "f_back", "treasure"],
        ["stack of Thread-1: work.treasure"],
    )


def test_what_the_states_of_threads_hold_is_shown_and_outlives_the_fork(tmp_path: Path) -> None:
    [lost] = run(
        """
        import contextvars, threading
        ready, done, parent = threading.Event(), threading.Event(), os.getpid()
        class Held:
            def __del__(self):
                if os.getpid() != parent:
                    (SPOOL / "lost").touch()
        class Own(threading.local): pass
        local, own, variable = threading.local(), Own(), contextvars.ContextVar("variable")
        def work():
            local.held, own.held = Held(), Held()
            variable.set(Held())
            try:
                raise LookupError(Held())
            except LookupError:
                ready.set()
                done.wait(60)
        thread = threading.Thread(target=work)
        thread.start()
        ready.wait(60)
        snapshot("a")
        done.set()
        thread.join()
        say((SPOOL / "lost").exists())
        """,
        tmp_path / "spool",
    )
    assert lost is False, "a destructor of the host ran in the child"
    taken = Snapshot(tmp_path / "spool/a.heapsnapshot")
    ways = [taken.path(node) for node in taken.all("__main__.Held")]
    assert len(ways) == 4
    assert {"local", "own"} <= {step for way in ways for step in way}, "the way to a value begins at its variable"


def test_a_thread_that_is_handling_an_exception_deep_down_does_no_harm(tmp_path: Path) -> None:
    run(
        """
        import threading
        ready, done = threading.Event(), threading.Event()
        CAUGHT = []
        def generate():
            yield from [1, 2]
            raise LookupError
        def work(depth):
            local = [depth]
            if depth:
                return work(depth - 1)
            try:
                list(generate())
            except LookupError as error:
                CAUGHT.append(error)
                ready.set()
                done.wait(60)
        threads = [threading.Thread(target=work, args=(300,)) for _ in range(3)]
        for thread in threads:
            ready.clear(); thread.start(); ready.wait(60)
        for name in "ab":
            say(list(snapshot(name).notes))
        done.set()
        for thread in threads: thread.join()
        """,
        tmp_path / "spool",
    )
    for name in "ab":
        assert Snapshot(tmp_path / f"spool/{name}.heapsnapshot").count("LookupError") == 3


def test_garbage_that_waits_for_the_collector_is_shown_as_such(tmp_path: Path) -> None:
    run(
        """
        import gc
        gc.disable()
        class Round: pass
        for _ in range(3):
            ring = Round(); ring.me = ring
        del ring
        snapshot("a")
        """,
        tmp_path / "spool",
    )
    taken = Snapshot(tmp_path / "spool/a.heapsnapshot")
    assert [taken.path(node)[0] for node in taken.all("__main__.Round")] == ["(held elsewhere)"] * 3


def test_the_summary_agrees_with_the_file(tmp_path: Path) -> None:
    answers = run("say(snapshot('a').to_json())", tmp_path / "spool")
    taken = Snapshot(tmp_path / "spool/a.heapsnapshot")
    recording = answers[0]
    assert isinstance(recording, dict)
    summary = recording["data"]
    assert summary["nodes"] == len(taken)
    assert summary["edges"] == sum(1 for node in range(len(taken)) for _ in taken.edges(node))
    told = {name: (count, size) for name, count, size in summary["classes"]}
    for name in ("dict", "tuple", "str"):
        nodes = taken.all(name)
        assert told[name] == (len(nodes), sum(taken.sizes[node] for node in nodes))
    assert recording["notes"] == ["The heap snapshot leaves out the contents of strings, bytes and numbers."]


def test_a_summary_of_many_classes_adds_up_to_the_whole_heap(tmp_path: Path) -> None:
    script = "classes = [type(f'C{i}', (), {}) for i in range(300)]; made = [cls() for cls in classes]\n"
    [recording] = run(script + "say(snapshot('a').to_json())", tmp_path / "spool")
    taken = Snapshot(tmp_path / "spool/a.heapsnapshot")
    assert isinstance(recording, dict)
    rows = recording["data"]["classes"]
    assert rows[-1][0] == "(other classes)" and len(rows) == 201
    roots = 1 + len(list(taken.edges(0)))
    assert sum(count for _, count, _ in rows) == len(taken) - roots
    assert sum(size for _, _, size in rows) == sum(taken.sizes)


def test_a_linked_list_of_100_000_and_nesting_as_deep_are_walked(tmp_path: Path) -> None:
    run(
        """
        class Link:
            def __init__(self, next): self.next = next
        CHAIN = None
        for _ in range(100_000):
            CHAIN = Link(CHAIN)
        NEST = ()
        for _ in range(100_000):
            NEST = [NEST]
        snapshot("a", deadline=90)
        # taking them apart one by one: Python's own destructors recurse
        while CHAIN is not None: CHAIN = CHAIN.next
        while NEST: NEST = NEST[0]
        """,
        tmp_path / "spool",
    )
    taken = Snapshot(tmp_path / "spool/a.heapsnapshot")
    assert taken.count("__main__.Link") == 100_000
    assert taken.count("list") >= 100_000


def test_a_long_chain_is_read_many_links_at_a_time(tmp_path: Path) -> None:
    run(
        """
        import types, weakref
        class Link:
            def __init__(self, next):
                self.next = next
                self.weak = weakref.ref(self)
        class Slim:
            __slots__ = ("next",)
            def __init__(self, next): self.next = next
        def kept(value):
            return lambda: value
        def suspended(value):
            yield
            return value
        def begun(value):
            made = suspended(value)
            next(made)
            return made
        KINDS = [
            Link, Slim, lambda value: {value}, kept, begun, lambda value: [value], lambda value: {"key": (value,)},
            lambda value: {1: value}, lambda value: types.SimpleNamespace(value=value),
            lambda value: [value, *range(1000, 3000)],
        ]
        ODDITIES = object()
        for number in range(1000):
            ODDITIES = KINDS[number % len(KINDS)](ODDITIES)
        CHAIN = None
        for _ in range(20_000):
            CHAIN = Link(CHAIN)
        class Counted:
            def __init__(self, heap): self.heap = heap
            def __getattr__(self, name): return getattr(self.heap, name)
            def __iter__(self):
                rows = 0
                for rows, row in enumerate(self.heap, 1):
                    yield row
                (SPOOL / "rows").write_text(str(rows))
        snapshot("a", write=lambda heap, out: write_heap(Counted(heap), out))
        while CHAIN is not None: CHAIN = CHAIN.next
        """,
        tmp_path / "spool",
    )
    taken = Snapshot(tmp_path / "spool/a.heapsnapshot")
    assert taken.count("__main__.Link") == 20_000 + 100
    assert taken.count("__main__.Slim") == 100
    assert int((tmp_path / "spool/rows").read_text()) < 20_000


def test_a_snapshot_from_the_bottom_of_a_deep_recursion_is_whole(tmp_path: Path) -> None:
    run(
        """
        sys.setrecursionlimit(6000)
        def down(level, first=None):
            here = [level]
            return snapshot("a") if level == 0 else down(level - 1)
        down(5000)
        """,
        tmp_path / "spool",
    )
    assert Snapshot(tmp_path / "spool/a.heapsnapshot").count("<frame down>") == 5001


@pytest.mark.parametrize("values", ["redacted", "full"])
def test_lone_surrogates_and_controls_do_no_harm(tmp_path: Path, values: str) -> None:
    run(
        f"""
        ODD = {{"\\udc80": "\\ud800\\x00\\"\\\\\\n", "\\x7f": "\\U0001f600"}}
        cls = type("Odd", (), {{"__module__": "\\ud800", "\\udcff": 1}})
        THING = cls()
        setattr(THING, "\\udc00", 1)
        snapshot("a", {values!r})
        """,
        tmp_path / "spool",
    )
    Snapshot(tmp_path / "spool/a.heapsnapshot")


def test_a_heap_that_changes_under_load_is_frozen_in_the_snapshot(tmp_path: Path) -> None:
    answers = run(
        """
        import threading
        stop = threading.Event()
        class Pair:
            def __init__(self): self.left = self.right = None
        PAIRS = [Pair() for _ in range(1000)]
        def churn(seed):
            index, extra = seed, {}
            while not stop.is_set():
                index = (index * 7 + 1) % 1000
                value = [index]
                extra[index % 50] = {"x": value, "y": (value,)}
                PAIRS[index].left = PAIRS[index].right = value
        threads = [threading.Thread(target=churn, args=(seed,)) for seed in range(2)]
        for thread in threads: thread.start()
        for turn in range(3):
            say(list(snapshot(f"s{turn}").notes))
        stop.set()
        for thread in threads: thread.join()
        """,
        tmp_path / "spool",
    )
    assert [len(notes) for notes in answers if isinstance(notes, list)] == [1] * 3  # nothing but the note on redaction
    for turn in range(3):
        taken = Snapshot(tmp_path / f"spool/s{turn}.heapsnapshot")
        assert taken.count("__main__.Pair") == 1000

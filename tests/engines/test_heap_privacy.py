"""What a heap snapshot shows: no contents unless asked for, in any position; and no code of the host is run to take
it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.components import requires

from .heaps import Snapshot, run

pytestmark = pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="a snapshot needs fork")

# Every secret holds this word, in another case or encoding where the position asks for it.
WORD = "hunter2z"
BIG = 987654321987654321

# The word is put together at run time and never stands in the source, as with a real secret.
SECRETS = """
import collections, linecache, os, sys, threading, types, weakref
W = "".join(["hun", "ter", "2z"])
BIG = int("987654321" * 2)
def secret(position): return f"{W}_{position}"
class Holder:
    def __init__(self): self.attribute = secret("attribute")
class Slots:
    __slots__ = ("slot",)
HELD = Holder()
setattr(HELD, secret("attribute_name"), 1)
SLOTS = Slots(); SLOTS.slot = secret("slot")
KEYS = {secret("key"): 1, sys.intern(secret("interned_key")): 2, 5: secret("value"), (secret("tuple_key"),): 3,
        secret("bytes_key").encode(): 4, BIG: 6}
INTERNED = sys.intern(secret("interned"))
BYTES = [secret("bytes").encode(), bytearray(secret("bytearray").encode())]
NUMBERS = [BIG, float(BIG), complex(BIG)]
SETS = [{secret("set")}, frozenset([secret("frozenset")])]
NAMESPACE = types.SimpleNamespace(**{secret("namespace_name"): secret("namespace")})
COUNTED = collections.Counter([secret("counter")])
ORDERED = collections.OrderedDict([(secret("ordered_key"), 1)])
DEFAULTS = collections.defaultdict(list, {secret("defaults_key"): [1]})
QUEUE = collections.deque([secret("deque")])
exec(compile(f"def constant():\\n    return {secret('constant')!r}, {secret('constant_bytes').encode()!r}, {BIG}\\n"
             f"def piece(x): return f'{secret('fpiece')} {{x}}'\\n"
             f"def default(a={secret('default')!r}, *, b={secret('kwdefault')!r}): pass\\n"
             f"def documented():\\n    {secret('docstring')!r}\\n"
             f"def annotated(a: {secret('annotation')!r}): pass\\n", secret("filename"), "exec"))
constant.note = secret("function_attribute")
def close(captured): return lambda: captured
CLOSURE = close(secret("closure"))
def generate():
    waiting = secret("generator_local")
    yield
    return waiting
GENERATOR = generate(); next(GENERATOR)
GLOBAL = secret("global")
globals()[secret("global") + "!"] = 1
os.environ[secret("environment_name")] = secret("environment")
os.environ["TOKEN"] = secret("environment_value")
def fail(argument):
    local = secret("traceback_local")
    raise ValueError(secret("error_argument"), argument)
try:
    fail(secret("argument"))
except ValueError as error:
    ERROR = error
try:
    {}[secret("missing_key")]
except KeyError as error:
    CAUSE = error
linecache.cache[secret("linecache")] = (1, None, [secret("source_line")], secret("full_name"))
MODULE = types.ModuleType(secret("module").replace("_", "-"), secret("module_doc"))
sys.modules[secret("modules_key") + "-x"] = MODULE
MEMBERS = {"member": secret("member"), "__doc__": secret("class_doc"),
           "__annotations__": {"a": secret("class_annotation")}}
CLASS = type("Class", (), MEMBERS)
class Meta(type): pass
ODD = Meta("Od d " + secret("class_name"), (), {"__module__": "a b " + secret("class_module")})
OF_ODD = ODD()
THREAD = threading.Thread(name=secret("thread"), target=threading.Event().wait, args=(60,), daemon=True)
THREAD.start()
PROPERTY = property(lambda self: 1, doc=secret("property_doc"))
PARTIAL = __import__("functools").partial(print, secret("partial"), end=secret("partial_keyword"))
PATTERN = __import__("re").compile(secret("pattern"))
LOCAL = threading.local(); setattr(LOCAL, secret("thread_local_name"), secret("thread_local"))
WEAK = weakref.WeakValueDictionary({secret("weak_key"): HELD})
CONTEXT = __import__("contextvars").ContextVar(secret("context_variable"), default=secret("context_default"))
CONTEXT.set(secret("context_value"))
MEMORY = memoryview(secret("memoryview").encode())
ARRAY = __import__("array").array("B", secret("array").encode())
def here(argument):
    local = secret("frame_local")
    recording = snapshot("a", VALUES)
    say(list(recording.notes)); say(recording.to_json())
here(secret("frame_argument"))
"""


def spellings() -> list[bytes]:
    word = WORD.encode()
    return [
        word,
        word.upper(),
        word.hex().encode(),
        str(BIG).encode(),
        str(float(BIG)).encode(),
        f"{BIG:x}".encode(),
        WORD.encode("utf-16-le"),
    ]


def test_no_secret_is_in_the_file_wherever_it_was_kept(tmp_path: Path) -> None:
    answers = run("VALUES = 'redacted'\n" + SECRETS, tmp_path / "spool")
    content = (tmp_path / "spool/a.heapsnapshot").read_bytes()
    Snapshot(tmp_path / "spool/a.heapsnapshot")
    assert [
        spelling for spelling in spellings() if spelling in content or spelling.decode("latin-1") in json.dumps(answers)
    ] == []


def test_the_same_secrets_are_found_when_all_is_asked_for_and_a_note_warns(tmp_path: Path) -> None:
    answers = run("VALUES = 'full'\n" + SECRETS, tmp_path / "spool")
    content = (tmp_path / "spool/a.heapsnapshot").read_text("ascii")
    positions = [line.split('secret("')[1].split('")')[0] for line in SECRETS.splitlines() if 'secret("' in line]
    hidden = {
        "module",
        "class_name",
        "thread",
        "array",
        "memoryview",
        "context_variable",
        "bytearray",
        "modules_key",
        "pattern",
    }
    assert [position for position in positions if f"{WORD}_{position}" not in content and position not in hidden] == []
    assert str(BIG) in content
    (note,) = answers[0]  # type: ignore[misc]
    assert note.startswith("The heap snapshot holds the contents of strings, bytes and numbers: guard it")


def test_the_file_is_private(tmp_path: Path) -> None:
    run("import os; os.umask(0); snapshot('a')", tmp_path / "spool")
    assert (tmp_path / "spool/a.heapsnapshot").stat().st_mode & 0o777 == 0o600


def test_names_of_the_source_are_shown_in_redacted_snapshots(tmp_path: Path) -> None:
    run(
        """
        class Basket:
            def fill(self, **items): self.apples = items
        BASKET = Basket()
        BASKET.fill(pears=[1])
        RECORD = {"apples": [1], "sausages": [2]}
        snapshot("a")
        """,
        tmp_path / "spool",
    )
    taken = Snapshot(tmp_path / "spool/a.heapsnapshot")
    main = taken.follow(taken.only("<module __main__>"), "__dict__")
    taken.follow(main, "BASKET", "apples")
    # the source uses "apples" as a name; "sausages" only ever was data
    assert [edge.name for edge in taken.edges(taken.follow(main, "RECORD")) if edge.kind == "property"] == [
        "apples",
        "(str)",
    ]


@pytest.mark.parametrize("values", ["redacted", "full"])
def test_a_zoo_of_hostile_objects_is_walked_without_a_single_call(tmp_path: Path, values: str) -> None:
    run(
        f"""
        from tests.engines import zoo
        ANIMALS = zoo.instances()
        def write(heap, out):
            write_heap(heap, out)
            if zoo.calls:  # in the child
                raise RuntimeError
        zoo.arm()
        recording = snapshot("a", {values!r}, write=write)
        called = list(zoo.calls)
        zoo.disarm()
        say(called)
        say(list(recording.attachments))
        """,
        tmp_path / "spool",
    )
    taken = Snapshot(tmp_path / "spool/a.heapsnapshot")
    found = {name.rpartition(".")[2] for name in taken.names}
    assert found >= {
        "Plain",
        "Loud",
        "Slotted",
        "Hostilelist",
        "Hostiledict",
        "HostileException",
        "OddDict",
        "OfHostileClass",
        "Reference",
    }


def test_a_zoo_that_was_called_is_noticed(tmp_path: Path) -> None:
    answers = run(
        """
        from tests.engines import zoo
        ANIMALS = zoo.instances()
        def write(heap, out):
            write_heap(heap, out)
            try:
                len(ANIMALS[0])
            except zoo.Hostile:
                pass
            if zoo.calls:
                raise RuntimeError
        zoo.arm()
        recording = snapshot("a", write=write)
        zoo.disarm()
        say(list(recording.notes))
        """,
        tmp_path / "spool",
    )
    assert "RuntimeError" in str(answers[0])


@requires("sqlalchemy")
def test_lazy_proxies_of_werkzeug_and_sqlalchemy_are_left_asleep(tmp_path: Path) -> None:

    answers = run(
        """
        from werkzeug.local import LocalProxy
        from sqlalchemy import ForeignKey, create_engine, event
        from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
        asked = []
        PROXY = LocalProxy(lambda: asked.append("proxy"))
        class Base(DeclarativeBase): pass
        class Parent(Base):
            __tablename__ = "parent"
            id: Mapped[int] = mapped_column(primary_key=True)
            name: Mapped[str]
            children: Mapped[list["Child"]] = relationship(back_populates="parent")
        class Child(Base):
            __tablename__ = "child"
            id: Mapped[int] = mapped_column(primary_key=True)
            parent_id: Mapped[int] = mapped_column(ForeignKey("parent.id"))
            parent: Mapped[Parent] = relationship(back_populates="children")
        ENGINE = create_engine("sqlite://")
        Base.metadata.create_all(ENGINE)
        SESSION = Session(ENGINE)
        SESSION.add(Parent(id=1, name="x", children=[Child(id=1)]))
        SESSION.commit()
        PARENT = SESSION.get(Parent, 1)
        event.listen(ENGINE, "before_cursor_execute", lambda *a: asked.append("sql"))
        SESSION.expire(PARENT)
        def write(heap, out):
            write_heap(heap, out)
            if asked:
                raise RuntimeError
        say(list(snapshot("a", write=write).attachments))
        say(asked)
        SESSION.close(); ENGINE.dispose()
        """,
        tmp_path / "spool",
    )
    assert answers[1] == [] and len(answers[0]) == 1  # type: ignore[arg-type]
    assert Snapshot(tmp_path / "spool/a.heapsnapshot").count("__main__.Parent") == 1

"""When a heap snapshot goes wrong: a sentence in the answer, no partial file, no zombie, a host that never notices."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from flask_profiling.engines import EngineOptions, _heapfork, _heapmemory
from flask_profiling.engines.heap import HeapEngine
from flask_profiling.errors import Unavailable
from tests.components import requires

from .heaps import Snapshot, run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a snapshot needs fork")

# Says the notes, what is left in the spool, and whether a child is left over.
AFTER = """
def after(recording):
    try:
        left = os.waitpid(-1, os.WNOHANG)[0] or "a child that runs"
    except ChildProcessError:
        left = "no child"
    say([list(recording.notes), sorted(path.name for path in SPOOL.iterdir()) if SPOOL.exists() else [], left])
    say([recording.data.exact, recording.data.nodes > 1000, list(recording.attachments)])
"""


def fault(script: str, tmp_path: Path, **environment: str) -> str:
    """Run a script whose snapshot must fail cleanly; return the sentence."""
    answers = run(AFTER + script.replace("\n    ", "\n"), tmp_path / "spool", environment=environment)
    told, data = answers[0], answers[1]
    assert isinstance(told, list)
    (note,), files, children = told
    assert files == [] and children == "no child"
    assert data == [False, True, []], "the counts by class are missing"
    assert note.endswith("; objects were counted by class instead.")
    return str(note)


def test_a_child_that_is_killed_leaves_a_sentence(tmp_path: Path) -> None:
    note = fault(
        """
    import signal
    def fork():
        pid = os.fork()
        if pid:
            os.kill(pid, signal.SIGKILL)
        return pid
    after(snapshot("a", fork=fork))
    """,
        tmp_path,
    )
    assert "ended by signal 9" in note


def test_a_child_killed_in_the_middle_of_the_file_leaves_no_file(tmp_path: Path) -> None:
    note = fault(
        """
    def write(heap, out):
        out.write(b"{")
        out.flush()
        os.kill(os.getpid(), 9)
    after(snapshot("a", write=write))
    """,
        tmp_path,
    )
    assert "ended by signal 9" in note


def test_a_child_killed_in_the_middle_of_the_walk_leaves_no_file(tmp_path: Path) -> None:
    note = fault(
        """
    class Cut:
        def __init__(self, heap): self.heap = heap
        def __getattr__(self, name): return getattr(self.heap, name)
        def __iter__(self):
            for number, rows in enumerate(self.heap):
                if number == 500: os.kill(os.getpid(), 9)
                yield rows
    after(snapshot("a", write=lambda heap, out: write_heap(Cut(heap), out)))
    """,
        tmp_path,
    )
    assert "ended by signal 9" in note


def test_a_child_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    note = fault(
        """
    import time
    def write(heap, out):
        time.sleep(60)
    begun = time.monotonic()
    after(snapshot("a", write=write, deadline=1))
    assert time.monotonic() - begun < 20
    """,
        tmp_path,
    )
    assert "ended by signal" in note


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    note = fault(
        """
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    after(snapshot("a"))
    """,
        tmp_path,
    )
    assert "is full" in note


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_file_system_without_room_is_told(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    if os.system(f"mount -t tmpfs -o size=256k tmpfs {tmp_path}/spool 2>/dev/null") != 0:
        pytest.skip("this machine does not let us mount")
    try:
        assert "is full" in fault('after(snapshot("a"))', tmp_path)
    finally:
        assert os.system(f"umount {tmp_path}/spool") == 0


def test_a_child_without_memory_is_told(tmp_path: Path) -> None:
    note = fault(
        """
    import resource
    KEEP = [[number] for number in range(300_000)]
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + (8 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    after(snapshot("a", shortage=lambda: ""))
    """,
        tmp_path,
    )
    assert "too little memory" in note


def test_a_limit_on_memory_is_seen_before_anything_is_done(tmp_path: Path) -> None:
    note = fault(
        """
    import resource
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + (8 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    def fork(): raise AssertionError
    after(snapshot("a", fork=fork))
    """,
        tmp_path,
    )
    assert "too little memory" in note and "ulimit -v" in note


def test_a_spool_that_is_gone_is_told(tmp_path: Path) -> None:
    note = fault("SPOOL.rmdir(); after(snapshot('a'))", tmp_path)
    assert "No such file" in note


def test_a_format_that_fails_is_told_without_its_message(tmp_path: Path) -> None:
    note = fault(
        """
    def write(heap, out):
        raise LookupError("hunter2")
    after(snapshot("a", write=write))
    """,
        tmp_path,
    )
    assert "LookupError" in note and "hunter2" not in note


def test_a_platform_without_fork_counts_the_classes(tmp_path: Path) -> None:
    assert "cannot fork" in fault("after(snapshot('a', fork=None))", tmp_path)


def test_a_fork_that_fails_is_told(tmp_path: Path) -> None:
    note = fault(
        """
    def fork(): raise BlockingIOError(11, "Resource temporarily unavailable")
    after(snapshot("a", fork=fork))
    """,
        tmp_path,
    )
    assert "Resource temporarily unavailable" in note


def test_a_worker_interrupted_while_it_waits_takes_its_child_along(tmp_path: Path) -> None:
    answers = run(
        AFTER
        + """
import signal, time
class Leave(BaseException): pass
def leave(number, frame): raise Leave
signal.signal(signal.SIGUSR1, leave)
parent = os.getpid()
def write(heap, out):
    os.kill(parent, signal.SIGUSR1)
    time.sleep(60)
try:
    snapshot("a", write=write)
except Leave:
    say("left")
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    say("no child")
say(os.listdir(SPOOL))
""",
        tmp_path / "spool",
    )
    assert answers == ["left", "no child", []]


def test_a_snapshot_that_nobody_wants_any_more_is_given_up(tmp_path: Path) -> None:
    answers = run(
        AFTER
        + """
import threading
from flask_profiling.engines import _heapfork
from flask_profiling.errors import Unavailable

def given_up(is_wanted):
    options = EngineOptions("prof-test", spool=SPOOL, write_heap=write_heap, is_wanted=is_wanted)
    try:
        HeapEngine(options).stop()
    except Unavailable as error:
        try:
            os.waitpid(-1, os.WNOHANG)
            say("a child is left")
        except ChildProcessError:
            say([error.message, os.listdir(SPOOL)])

given_up(iter([True, True, False]).__next__)  # while the child walks
with _heapfork.turn(10):  # while another has its turn
    given_up(lambda: False)
after(snapshot("a"))
""",
        tmp_path / "spool",
    )
    sentence = "the look at this process's memory was given up, since nobody waits for it; ask again"
    assert answers[:2] == [[sentence, []]] * 2
    (_, _, children), (exact, _, _) = answers[2:]  # type: ignore[misc]
    assert (children, exact) == ("no child", True), "the next one is not taken"


def test_the_child_of_a_worker_that_was_killed_ends_and_removes_its_file(tmp_path: Path) -> None:
    answers = run(
        """
import time
worker = os.fork()
if worker == 0:
    def write(heap, out):
        assert [path.name.startswith(".heap-") for path in SPOOL.iterdir()] == [True]
        os.kill(worker_pid, 9)
        while os.getppid() == worker_pid:
            time.sleep(0.01)
        write_heap(heap, out)
        os._exit(0)
    worker_pid = os.getpid()
    snapshot("a", write=write)
    os._exit(0)
os.waitpid(worker, 0)
deadline = time.monotonic() + 30
while list(SPOOL.iterdir()) and time.monotonic() < deadline:
    time.sleep(0.01)
say(os.listdir(SPOOL))
""",
        tmp_path / "spool",
    )
    assert answers == [[]]


@pytest.mark.parametrize(
    "host",
    ["signal.signal(signal.SIGCHLD, signal.SIG_IGN)", "signal.signal(signal.SIGCHLD, reap)"],
    ids=["ignores its children", "waits for any child"],
)
def test_a_host_that_reaps_the_child_itself_gets_its_snapshot(tmp_path: Path, host: str) -> None:
    answers = run(
        f"""
import signal
def reap(number, frame):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]: pass
    except ChildProcessError: pass
{host}
say(list(snapshot("a").attachments))
say(signal.getsignal(signal.SIGCHLD) in (reap, signal.SIG_IGN))
""",
        tmp_path / "spool",
    )
    assert answers[1] is True
    assert Snapshot(tmp_path / "spool/a.heapsnapshot").count("<module __main__>") == 1


@pytest.mark.parametrize("options", [("-W", "error"), ("-W", "error", "-X", "dev"), ("-b",)])
def test_warnings_that_are_errors_do_not_lose_the_child(tmp_path: Path, options: tuple[str, ...]) -> None:
    answers = run(
        """
import threading
done = threading.Event()
thread = threading.Thread(target=done.wait)
thread.start()
recording = snapshot("a")
done.set(); thread.join()
say(list(recording.notes))
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    say("no child")
""",
        tmp_path / "spool",
        *options,
    )
    assert answers == [["The heap snapshot leaves out the contents of strings, bytes and numbers."], "no child"]
    Snapshot(tmp_path / "spool/a.heapsnapshot")


def test_the_child_is_quiet(tmp_path: Path) -> None:
    """No handler, hook, buffer, thread or exit function of the host comes to life in it, and no connection stays
    open."""
    answers = run(
        """
import atexit, signal, socket, threading, time
mark = SPOOL.parent / "mark"
def say_so(*ignored): mark.write_text(f"called in {os.getpid()}")
armed = os.getpid()
atexit.register(lambda: os.getpid() == armed or say_so())
signal.signal(signal.SIGTERM, say_so)
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
accepted, _ = server.accept()
reader, writer = os.pipe()
def hook(frame, event, argument):
    if os.getpid() != armed: hooked.append(event)
hooked = []
buffered = open(SPOOL.parent / "buffered", "w"); buffered.write("once")
def write(heap, out):
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    open_now = {os.readlink(link) for link in links if os.path.exists(link)}
    assert not any("socket" in name or "pipe" in name for name in open_now), open_now
    assert len(threading._active) == 1 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    before = len(hooked)
    write_heap(heap, out)
    assert len(hooked) == before and sys.getprofile() is None and sys.gettrace() is None
sys.setprofile(hook)
recording = snapshot("a", write=write)
say(sys.getprofile() is hook)
sys.setprofile(None)
buffered.close()
say(list(recording.notes))
say((SPOOL.parent / "buffered").read_text())
say(mark.exists())
say(signal.getsignal(signal.SIGTERM) is say_so and not signal.pthread_sigmask(signal.SIG_BLOCK, []))
for it in (server, client, accepted): it.close()
os.close(reader); os.close(writer)
""",
        tmp_path / "spool",
    )
    assert answers == [
        True,
        ["The heap snapshot leaves out the contents of strings, bytes and numbers."],
        "once",
        False,
        True,
    ]


def test_the_child_of_a_host_that_traces_its_memory_is_not_traced(tmp_path: Path) -> None:
    answers = run(
        """
import tracemalloc
tracemalloc.start(3)
KEPT = bytearray(5000)
def write(heap, out):
    assert not tracemalloc.is_tracing()
    write_heap(heap, out)
say(list(snapshot("a", write=write).attachments) != [])
say([tracemalloc.is_tracing(), tracemalloc.get_traceback_limit(), tracemalloc.get_object_traceback(KEPT) is not None])
""",
        tmp_path / "spool",
    )
    assert answers == [True, [True, 3, True]]


def test_snapshots_leave_no_descriptor_and_no_thread_behind(tmp_path: Path) -> None:
    answers = run(
        """
import threading
def held(): return len(os.listdir("/proc/self/fd")), threading.active_count()
snapshot("a")
before = held()
for _ in range(3): snapshot("a")
say(before == held())
""",
        tmp_path / "spool",
    )
    assert answers == [True]


def test_two_threads_that_stop_at_once_take_turns(tmp_path: Path) -> None:
    answers = run(
        """
import threading
found = []
def work(name):
    (SPOOL / name).mkdir()
    found.append(list(snapshot(name, spool=SPOOL / name).notes))
threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
for thread in threads: thread.start()
for thread in threads: thread.join()
say(found)
""",
        tmp_path / "spool",
    )
    assert answers == [[["The heap snapshot leaves out the contents of strings, bytes and numbers."]] * 2]
    for name in "ab":
        Snapshot(tmp_path / f"spool/{name}/{name}.heapsnapshot")


@requires("gevent")
def test_greenlets_run_on_while_a_snapshot_is_taken(tmp_path: Path) -> None:
    answers = run(
        """
from gevent import monkey
monkey.patch_all()
import gevent, time
ticks = []
class Held: pass
def tick():
    local = Held()
    while True:
        ticks.append(time.monotonic())
        gevent.sleep(0.01)
ticker = gevent.spawn(tick)
second = gevent.spawn(lambda: say(list(snapshot("b").notes)))
gevent.sleep(0.05)
before = len(ticks)
say(list(snapshot("a").notes))
say(len(ticks) - before > 10)
second.join()
ticker.kill()
""",
        tmp_path / "spool",
    )
    note = ["The heap snapshot leaves out the contents of strings, bytes and numbers."]
    assert [answer for answer in answers if answer is not True] == [note, note]
    assert True in answers
    for name in "ab":
        taken = Snapshot(tmp_path / f"spool/{name}.heapsnapshot")
        # on Python 3.15 a waiting greenlet shows the collector what its frames hold
        holder = "(modules)" if sys.version_info >= (3, 15) else "(held elsewhere)"
        assert taken.path(taken.only("__main__.Held"))[0] == holder


def test_without_a_place_to_write_to_the_engine_does_not_start() -> None:
    with pytest.raises(Unavailable, match="needs a directory"):
        HeapEngine(EngineOptions("prof-test")).start()


def test_an_exit_code_is_what_the_child_said() -> None:
    pid = _heapfork.spawn(lambda mask: os._exit(7), os.fork)
    assert _heapfork.wait(pid, 10) == 7


def test_a_child_that_was_reaped_by_another_is_unknown_and_harmless_to_kill() -> None:
    pid = _heapfork.spawn(lambda mask: os._exit(7), os.fork)
    os.waitpid(pid, 0)
    assert _heapfork.wait(pid, 10) is None
    assert _heapfork.kill(pid) is None


def test_the_mask_of_signals_is_given_back_to_both() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    try:
        pid = _heapfork.spawn(lambda mask: os._exit(signal.SIGUSR2 in mask and signal.SIGUSR1 not in mask), os.fork)
        assert _heapfork.wait(pid, 10) == 1
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == {*before, signal.SIGUSR2}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def machine(root: Path, *, resident: int, available: int, limit: str = "max", used: int = 0) -> Path:
    """Build the files under /proc and /sys that tell of memory; sizes in MiB."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/status").write_text(
        f"Name:\tpython\nVmSize:\t{resident * 2048} kB\nVmRSS:\t{resident * 1024} kB\n"
    )
    (root / "proc/meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable: {available * 1024} kB\n")
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/memory.max").write_text(f"{limit}\n")
    (root / "sys/fs/cgroup/memory.current").write_text(f"{used << 20}\n")
    return root


def test_enough_memory_is_enough(tmp_path: Path) -> None:
    assert _heapmemory.shortage(machine(tmp_path, resident=200, available=400)) == ""


def test_a_machine_that_is_short_says_how_much(tmp_path: Path) -> None:
    told = _heapmemory.shortage(machine(tmp_path, resident=200, available=100))
    assert told == "it may need 280 MB and the machine leaves 100 MB"


def test_a_container_that_is_short_is_noticed(tmp_path: Path) -> None:
    told = _heapmemory.shortage(machine(tmp_path, resident=200, available=4000, limit=str(512 << 20), used=300))
    assert told == "it may need 280 MB and the container leaves 212 MB"


def test_the_files_that_a_container_caches_do_not_count(tmp_path: Path) -> None:
    root = machine(tmp_path, resident=200, available=4000, limit=str(512 << 20), used=300)
    (root / "sys/fs/cgroup/memory.stat").write_text(f"anon 1\ninactive_file {200 << 20}\n")
    assert _heapmemory.shortage(root) == ""


@pytest.mark.parametrize(
    ("line", "place", "names"),
    [
        ("0::/service/worker", "service", ("memory.max", "memory.current")),
        ("5:memory:/docker/1", "memory/docker/1", ("memory.limit_in_bytes", "memory.usage_in_bytes")),
    ],
)
def test_the_groups_around_the_process_are_asked_too(
    tmp_path: Path, line: str, place: str, names: tuple[str, str]
) -> None:
    root = machine(tmp_path, resident=200, available=4000)
    (root / "proc/self/cgroup").write_text(f"{line}\n")
    directory = root / "sys/fs/cgroup" / place
    directory.mkdir(parents=True)
    for name, number in zip(names, (512 << 20, 400 << 20), strict=True):
        (directory / name).write_text(f"{number}\n")
    assert _heapmemory.shortage(root) == "it may need 280 MB and the container leaves 112 MB"


def test_a_machine_that_tells_nothing_is_trusted(tmp_path: Path) -> None:
    assert _heapmemory.shortage(tmp_path) == ""

"""The twenty promises, a sentence each, and where else than in this directory each is shown; no test lives here."""

from __future__ import annotations

# number -> what is promised, the tests elsewhere that show more of it
PROMISES: dict[int, tuple[str, tuple[str, ...]]] = {
    1: (
        "Closed unless the environment is development, staging or local and the switch is on; who disagrees, closes.",
        ("tests/test_gates.py", "tests/test_extension.py"),
    ),
    2: (
        "Closed means: no route, hook, thread, signal handler, file or heavy import, and the app's own 404.",
        ("tests/test_extension.py", "tests/inspector/test_wiring.py"),
    ),
    3: (
        "Five endpoints as published; errors are JSON; 405 with Allow; reading changes nothing.",
        ("tests/test_views.py",),
    ),
    4: (
        "One session over all workers: of fifty starts at once one succeeds; no two sessions have the same id.",
        ("tests/sessions/test_sessions.py", "tests/coordination/test_files.py"),
    ),
    5: ("No input gives a 5xx, or takes memory without bound.", ("tests/test_views.py",)),
    6: ("Requests of other sites' pages are refused, and nothing allows them in advance.", ("tests/test_gates.py",)),
    7: (
        "A foreign Host is refused on every endpoint; forwarded headers are not believed.",
        ("tests/test_gates.py", "tests/test_views.py"),
    ),
    8: (
        "Start, stop and cleanup are limited (429, Retry-After); the app's own limiter is untouched.",
        ("tests/test_ratelimit.py",),
    ),
    9: (
        (
            "No secret, path or traceback in an answer; nothing forgeable in logs; no outbound connection; no "
            "listener that was not asked for."
        ),
        ("tests/test_views.py", "tests/test_errors.py"),
    ),
    10: (
        (
            "Files 0600, directories 0700; links are never followed, nothing outside the output directory is touched, "
            "a directory that others may write to is refused or tightened; artifacts hold no secrets."
        ),
        ("tests/system/test_directory.py", "tests/engines/test_heap_privacy.py", "tests/test_store.py"),
    ),
    11: ("Artifacts appear whole or not at all; no temporary file stays.", ("tests/system/test_directory_faults.py",)),
    12: (
        (
            "A full, read-only, deleted or replaced output directory: a failure in JSON, the app unharmed, the next "
            "session works."
        ),
        ("tests/system/test_directory_faults.py", "tests/engines/test_heap_faults.py"),
    ),
    13: (
        "Vandalised state and artifacts are survived; marshal and pickle are never loaded.",
        ("tests/coordination/test_files.py", "tests/test_archive.py"),
    ),
    14: (
        "Kills, os._exit, worker death, reloads: never stuck; stale sessions are recovered and named.",
        ("tests/coordination/test_files.py", "tests/test_processes.py"),
    ),
    15: (
        "SIGTERM and SIGINT finalise within 12 s; the app's own handlers and atexit still run.",
        ("tests/test_lifecycle.py", "tests/sessions/test_ends.py"),
    ),
    16: (
        "Any worker may stop, all are profiled, views agree; preload, recycling and forks are safe.",
        ("tests/integration/test_known_truth.py", "tests/sessions/test_sessions.py"),
    ),
    17: (
        (
            "Tracing, profiling and tracemalloc hooks, coverage, debugger, error handlers, streams, deep recursion and "
            "exceptions of the app are unchanged; threads and descriptors do not grow."
        ),
        ("tests/engines/test_allocations.py", "tests/engines/test_lsprof_hooks.py"),
    ),
    18: (
        "Artifacts are valid and true, with odd names, hostile objects and 20,000 functions.",
        ("tests/formats/test_contract.py", "tests/formats/test_agreement.py", "tests/integration/test_known_tree.py"),
    ),
    19: (
        "Jumps of the wall clock, a second init, and gevent change nothing.",
        ("tests/test_store.py", "tests/test_extension.py", "tests/integration/test_known_truth.py"),
    ),
    20: (
        (
            "The DevTools endpoint: loopback only, Host, Origin and an unguessable path; it runs no code, survives "
            "hostile frames, and a port that is taken is harmless."
        ),
        ("tests/inspector/test_server.py", "tests/inspector/test_protocol.py"),
    ),
}

"""The one table of the settings, and the frozen Config that it fills; no reading of ``app.config`` here.

The table drives reading, start-up errors, ``flask profiling config``, the README and the docs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from . import reading

PREFIX = "PROFILING_"
CPU_CHOICES = ("cprofile", "calltree", "sampling", "off")
# tracemalloc slows an app 20-33 times at 25 frames already
MOST_FRAMES = 100

SWITCH = "true or false"
CPU = f"{', '.join(CPU_CHOICES[:-1])} or {CPU_CHOICES[-1]}"
FRAMES = f"a whole number from 0 to {MOST_FRAMES}"
SLOW = f"a number of seconds, 0 (off) or more and at most {reading.LONGEST_SECONDS:.0f}"


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table.

    ``parse`` reads what is configured or raises ValueError; ``allowed`` completes "it must be …"; ``default`` and
    ``example`` are written as in an environment variable; ``shown`` makes of a value what people may see.
    """

    key: str
    default: str
    parse: Callable[[object], object]
    allowed: str
    example: str
    meaning: str
    shown: Callable[[object], str] = reading.shown

    @property
    def field(self) -> str:
        """The name of the field in Config."""
        return self.key.removeprefix(PREFIX).lower()


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "PROFILING_ENABLED", "false", reading.flag, SWITCH, "true",
        "The switch. Where app.config and the environment both set it, both must agree.",
    ),
    Setting(
        "PROFILING_OUTPUT_DIR", "profiling", reading.directory,
        "a directory of its own (not the root, the working directory or its parent)", "var/profiling",
        "Where artifacts and state are kept, relative to the working directory; it is made 0700, files in it 0600.",
    ),
    Setting(
        "PROFILING_AUTO_GENERATE", "false", reading.flag, SWITCH, "true",
        "Also write the HTML report and the SVG call graph when a session stops.",
    ),
    Setting(
        "PROFILING_CPU", "cprofile", reading.choice(*CPU_CHOICES), CPU, "calltree",
        "How CPU time is collected: cprofile counts calls, calltree keeps their paths and order too, sampling looks "
        "from outside (py-spy, or Python 3.15), off collects none.",
    ),
    Setting(
        "PROFILING_SCOPE", "app", reading.choice("app", "all"), "app or all", "all",
        "What the calltree engine records: application code and the library functions it calls, or every function.",
    ),
    Setting(
        "PROFILING_APP_PATHS", "", reading.paths, f"directories or files, separated by {os.pathsep!r}", "src/shop",
        "What counts as application code; empty is all but the standard library and site-packages.",
    ),
    Setting(
        "PROFILING_SLOW_REQUEST", "0", reading.seconds(off=True), SLOW, "0.5",
        "Requests that take so many seconds or longer are kept one by one, the slowest of each route, with their calls "
        "where the CPU engine is calltree; 0 is off.",
    ),
    Setting(
        "PROFILING_HEAP", "true", reading.flag, SWITCH, "false",
        "Take a heap snapshot when a session stops.",
    ),
    Setting(
        "PROFILING_HEAP_VALUES", "redacted", reading.choice("redacted", "full"), "redacted or full", "full",
        "Whether heap snapshots hold the values of strings and numbers, which may be secrets.",
    ),
    Setting(
        "PROFILING_ALLOCATIONS", "0", reading.whole(0, MOST_FRAMES), FRAMES, "1",
        "Frames that tracemalloc keeps of each allocation while a session runs; 0 is off.",
    ),
    Setting(
        "PROFILING_MAX_DURATION", "300", reading.seconds(),
        f"a number of seconds, more than 0 and at most {reading.LONGEST_SECONDS:.0f}", "60",
        "Seconds until a forgotten session stops itself.",
    ),
    Setting(
        "PROFILING_MAX_SESSIONS", "20", reading.whole(1, 100_000), "a whole number from 1 to 100000", "5",
        "How many sessions are kept; the oldest go first, never the running one.",
    ),
    Setting(
        "PROFILING_MAX_BYTES", "1GiB", reading.size,
        "a size such as 1073741824, 1GiB (1024-based) or 500MB (1000-based), at least one byte", "500MB",
        "How much room the artifacts may take; the oldest sessions go first, never the running one.",
    ),
    Setting(
        "PROFILING_CLEANUP_ON_EXIT", "false", reading.flag, SWITCH, "true",
        "Delete the artifacts when the server ends.",
    ),
    Setting(
        "PROFILING_ALLOWED_HOSTS", "", reading.hosts,
        "names or addresses, each with or without a port, separated by commas; no scheme, no path, no wildcard",
        "staging.example.com,10.1.2.3:8000",
        "Host names that are answered besides localhost and loopback addresses; needs PROFILING_TOKEN.",
    ),
    Setting(
        "PROFILING_TOKEN", "", reading.token, "text of visible ASCII characters without spaces", "a-long-random-text",
        "The bearer token: required where the Host is one of PROFILING_ALLOWED_HOSTS, optional else.",
        reading.hidden,
    ),
    Setting(
        "PROFILING_RATE_LIMIT", "30 per minute", reading.text,
        "a rate limit such as '30 per minute' or '5/second;100/hour'", "10 per minute",
        "How often one address may call each of start, stop and cleanup, counted per worker; counted over all workers "
        "where Flask-Limiter's own RATELIMIT_STORAGE_URI names a shared storage.",
    ),
    Setting(
        "PROFILING_LIMITER", "own", reading.choice("own", "host"), "own or host", "host",
        "Who counts: a Flask-Limiter of our own, apart from the app's, or the app's (host); RATELIMIT_ENABLED=False in "
        "app.config turns both off.",
    ),
    Setting(
        "PROFILING_COORDINATOR", "", reading.coordinator, "empty, or an address such as redis://localhost:6379/0",
        "redis://localhost:6379/0",
        "How the workers agree: empty is by files in the output directory; a Redis spans many hosts.",
        reading.address,
    ),
    Setting(
        "PROFILING_INSPECTOR", "false", reading.flag, SWITCH, "true",
        "Serve the live DevTools endpoint on 127.0.0.1.",
    ),
    Setting(
        "PROFILING_INSPECTOR_PORT", "9229", reading.whole(0, 65535),
        "a port from 0 to 65535 (0 takes a free one)", "9230",
        "The port of the live DevTools endpoint; where it is taken, the next free one.",
    ),
    Setting(
        "PROFILING_INSPECTOR_SOURCES", "false", reading.flag, SWITCH, "true",
        "Show DevTools the app's own source files that appear in a profile.",
    ),
    Setting(
        "PROFILING_URL_PREFIX", "/debug/profiling", reading.url_prefix,
        "a path that starts with / and holds letters, digits, '.', '_', '~' and '-' only", "/internal/profiling",
        "Where the five endpoints are.",
    ),
)  # fmt: skip

# What the command line reads from the environment besides, never a setting of the app: name -> meaning
CLI_VARIABLES: dict[str, str] = {
    "PROFILING_URL": "The address of the running server that the commands talk to.",
    "PROFILING_K6_BIN": "The k6 program that `flask profiling k6` runs.",
}


def setting_of(key: str) -> Setting:
    """Return the row of one key; raises StopIteration where there is none."""
    return next(each for each in SETTINGS if each.key == key)


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting, parsed; a field is its key in lower case without ``PROFILING_``.

    ``max_duration`` and ``slow_request`` are in seconds, ``max_bytes`` in bytes, ``allocations`` in frames;
    ``output_dir`` is as given. What may hold a secret is not in the repr.
    """

    enabled: bool
    output_dir: Path
    auto_generate: bool
    cpu: str
    scope: str
    app_paths: tuple[str, ...]
    slow_request: float
    heap: bool
    heap_values: str
    allocations: int
    max_duration: float
    max_sessions: int
    max_bytes: int
    cleanup_on_exit: bool
    allowed_hosts: tuple[str, ...]
    token: str = field(repr=False)
    rate_limit: str
    limiter: str
    coordinator: str = field(repr=False)
    inspector: bool
    inspector_port: int
    inspector_sources: bool
    url_prefix: str

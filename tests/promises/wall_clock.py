"""The wall clock of a server's processes, which a test sets while they run; their monotonic clock stays true. No tests.

A few lines of C stand between the processes and the C library. libfaketime would do the same for most programs, but
not for these: beside a true monotonic clock its ``clock_nanosleep`` refuses the absolute times that ``time.sleep`` asks
for since Python 3.11.
"""

from __future__ import annotations

import os
import struct
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.components import program

_SOURCE = """
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *ahead;  /* seconds; in a file, which the test writes */

__attribute__((constructor)) static void look(void)
{
    int file = open(getenv("WALL_CLOCK"), O_RDONLY | O_CLOEXEC);
    void *page = mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
    if (page == MAP_FAILED)
        abort();
    ahead = page;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    long failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && ahead && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *ahead;
    return (int)failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (out)
        *out = exact.tv_sec;
    return exact.tv_sec;
}
"""


class WallClock:
    """A clock that is ``ahead`` seconds ahead of this process's (negative: behind), for whoever has ``environment``."""

    def __init__(self, directory: Path) -> None:
        self.ahead = 0
        self._file = directory / "wall-clock"
        self._file.write_bytes(bytes(8))
        self._library = directory / "wall-clock.so"
        command = (program("gcc") or "gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-x", "c", "-", "-o")
        subprocess.run([*command, self._library], input=_SOURCE.encode("ascii"), check=True, timeout=60)

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process must be started with; its children inherit it."""
        return {"LD_PRELOAD": str(self._library), "WALL_CLOCK": str(self._file)}

    def set(self, ahead: int) -> None:
        """Let the clock jump, in all processes at once."""
        with self._file.open("r+b", buffering=0) as file:
            file.write(struct.pack("=q", ahead))
        self.ahead = ahead

    def now(self) -> float:
        """Return Unix time by this clock."""
        return time.time() + self.ahead

    def stamp(self, paths: Iterable[Path]) -> None:
        """Give files that are new the times that the kernel, whose clock is the true one, would have given them."""
        for path in paths:
            modified = path.stat().st_mtime + self.ahead
            os.utime(path, (modified, modified))

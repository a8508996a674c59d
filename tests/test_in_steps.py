"""A coroutine on a loop with other tasks is watched in each of its steps, and in nothing between them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flask_profiling.middleware import in_steps


class Watch:
    """Stands in for the running session: notes when a visit is resumed and paused."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.steps = 0

    def resume(self, visit: str) -> None:
        assert self.inside == []
        self.inside.append(visit)
        self.steps += 1

    def pause(self, visit: str) -> None:
        assert self.inside.pop() == visit


def watched(watch: Watch, name: str, work: Callable[[], Any]) -> Awaitable[Any]:
    return in_steps(work(), watch, name)  # type: ignore[arg-type]  # as much of both as it needs


def test_only_its_own_steps_are_watched() -> None:
    watch = Watch()
    seen: list[tuple[str, list[str]]] = []

    async def work(name: str) -> str:
        for _ in range(3):
            seen.append((name, list(watch.inside)))
            await asyncio.sleep(0)
        return name

    async def together() -> list[str]:
        one = watched(watch, "one", lambda: work("one"))
        two = watched(watch, "two", lambda: work("two"))
        return list(await asyncio.gather(one, two, work("nobody")))  # type: ignore[arg-type]

    assert asyncio.run(together()) == ["one", "two", "nobody"]
    assert len(seen) == 9
    assert all(inside == ([name] if name != "nobody" else []) for name, inside in seen)
    assert watch.steps == 2 * 4


def test_errors_go_through_in_both_directions() -> None:
    watch = Watch()
    answered: list[str] = []

    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError("wanted")

    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            answered.extend(watch.inside)
            raise

    async def main() -> None:
        with pytest.raises(KeyError, match="wanted"):
            await watched(watch, "fails", fails)

        async def waiting() -> None:
            await watched(watch, "waits", waits)

        task = asyncio.ensure_future(waiting())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert answered == ["waits"]
    assert watch.inside == []

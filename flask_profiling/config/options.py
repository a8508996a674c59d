"""The options of a start: what a caller asked for, read strictly, the rest from the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..errors import BadRequest
from ..model import SessionOptions
from . import reading
from .settings import CPU, CPU_CHOICES, FRAMES, MOST_FRAMES, SLOW, SWITCH, Config

_NAMES_SHOWN = 5


def session_options(config: Config, values: Mapping[str, object], *, textual: bool) -> SessionOptions:
    """Make the options of a start; what is not asked for comes from ``config``.

    ``values`` may hold ``cpu`` (text), ``heap`` (bool), ``allocations`` (int), ``seconds`` and ``slow`` (numbers), or
    all of that as text when ``textual``. Raises BadRequest that names every unknown field and every wrong value.
    """
    chosen: dict[str, object] = {
        "cpu": config.cpu,
        "heap": config.heap,
        "allocations": config.allocations,
        "seconds": config.max_duration,
        "slow": config.slow_request,
    }
    readers: dict[str, tuple[Callable[[object], object], str]] = {
        "cpu": (reading.choice(*CPU_CHOICES), CPU),
        "heap": (reading.flag if textual else _boolean, SWITCH),
        "allocations": (_number(reading.whole(0, MOST_FRAMES), textual), FRAMES),
        "seconds": (
            _number(reading.seconds(config.max_duration), textual),
            f"a number of seconds, more than 0 and at most {config.max_duration:g} (PROFILING_MAX_DURATION)",
        ),
        "slow": (_number(reading.seconds(off=True), textual), SLOW),
    }
    mistakes = []
    unknown = [reading.shown(name) for name in values if name not in readers]
    if unknown:
        mistakes.append(f"unknown: {', '.join(unknown[:_NAMES_SHOWN])}, use {', '.join(readers)}")
    for name in readers:
        read, allowed = readers[name]
        try:
            if name in values:
                chosen[name] = read(values[name])
        except ValueError:
            mistakes.append(f"{name} is {reading.shown(values[name])}, it must be {allowed}")
    if mistakes:
        raise BadRequest(f"nothing was started; {'; '.join(mistakes)}")
    if chosen["cpu"] == "off" and not chosen["heap"] and not chosen["allocations"]:
        raise BadRequest("nothing was started, for cpu, heap and allocations are all off; turn at least one of them on")
    return SessionOptions(**chosen)  # type: ignore[arg-type]  # the readers give each field's type


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("not true or false")


def _number(read: Callable[[object], object], textual: bool) -> Callable[[object], object]:
    """Refuse numbers in quotes where numbers can be written, which is in JSON."""

    def strict(value: object) -> object:
        if isinstance(value, str):
            raise ValueError("text where a number belongs")
        return read(value)

    return read if textual else strict

"""Readers of exported files, written from the formats' own descriptions and not from our writers. No tests."""

from __future__ import annotations

import gzip
import json
import marshal
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

# (name, file, line), as far as the format has room for it
Place = tuple[str, str, int]


@dataclass
class Costs:
    """Own time by function, and calls where the format counts them."""

    times: Counter[Place] = field(default_factory=Counter)
    calls: Counter[Place] = field(default_factory=Counter)


def prof(data: bytes) -> Costs:
    costs = Costs()
    for (file, line, name), (_, calls, own, _, _) in marshal.loads(data).items():
        costs.times[name, file, line] += round(own * 1e6)
        costs.calls[name, file, line] += calls
    return costs


def cpuprofile(data: bytes) -> Costs:
    document = json.loads(data)
    frames = {node["id"]: node["callFrame"] for node in document["nodes"]}
    costs = Costs()
    deltas = document["timeDeltas"][1:]
    assert len(document["samples"]) == len(document["timeDeltas"])
    for node, delta in zip(document["samples"], deltas, strict=False):
        frame = frames[node]
        costs.times[frame["functionName"], frame["url"].removeprefix("file://"), frame["lineNumber"] + 1] += delta
    return costs


def collapsed(data: bytes) -> Costs:
    costs = Costs()
    for line in data.decode().splitlines():
        stack, _, amount = line.rpartition(" ")
        costs.times[stack.split(";")[-1], "", 0] += int(amount)
    return costs


def speedscope(data: bytes) -> Iterator[tuple[str, Costs]]:
    """Yield the name and the costs of each profile of the file; only those in order count calls."""
    document = json.loads(data)
    frames = [(frame["name"], frame.get("file", ""), frame.get("line", 0)) for frame in document["shared"]["frames"]]
    for profile in document["profiles"]:
        yield profile["name"], (_sampled if profile["type"] == "sampled" else _evented)(profile, frames)


def _sampled(profile: dict[str, Any], frames: list[Place]) -> Costs:
    costs = Costs()
    for stack, weight in zip(profile["samples"], profile["weights"], strict=True):
        costs.times[frames[stack[-1]]] += weight
    assert profile["endValue"] == sum(profile["weights"])
    return costs


def _evented(profile: dict[str, Any], frames: list[Place]) -> Costs:
    costs = Costs()
    stack: list[int] = []
    now = profile["startValue"]
    for event in profile["events"]:
        assert event["at"] >= now
        if stack:
            costs.times[frames[stack[-1]]] += event["at"] - now
        now = event["at"]
        if event["type"] == "O":
            stack.append(event["frame"])
            costs.calls[frames[event["frame"]]] += 1
        else:
            assert stack.pop() == event["frame"]
    assert not stack
    assert now == profile["endValue"]
    return costs


class _Names(dict[tuple[bool, str], str]):
    """``(7) name`` where it stands first, ``(7)`` from then on; files and functions are numbered apart."""

    def named(self, is_file: bool, text: str) -> str:
        number, name = re.fullmatch(r"\((\d+)\)(?: (.*))?", text).groups()  # type: ignore[union-attr]
        if name is not None:
            assert (is_file, number) not in self
            self[is_file, number] = name
        return self[is_file, number]


def callgrind(data: bytes) -> Costs:
    """Read own times and how often each function was called by others."""
    costs = Costs()
    names = _Names()
    now: dict[str, str] = {}
    is_call = False
    for line in data.decode().splitlines():
        key, _, value = line.partition("=")
        if key in ("fl", "fn", "cfi", "cfn"):
            now[key] = names.named(key in ("fl", "cfi"), value)
        elif key == "calls":
            costs.calls[now["cfn"], now["cfi"], 0] += int(value.split()[0])
            is_call = True
        elif re.fullmatch(r"\d+ \d+", line):
            if not is_call:
                costs.times[now["fn"], now["fl"], 0] += round(int(line.split()[1]) / 1000)
            is_call = False
    return costs


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the number and the value of each field of a protobuf message."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while position < len(data):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        else:
            assert tag & 7 == 2
            length = varint()
            yield tag >> 3, data[position : position + length]
            position += length
            assert position <= len(data)


def varints(data: bytes) -> list[int]:
    values, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            values.append(value)
            value = shift = 0
    return values


@dataclass
class Pprof:
    """A decoded profile.proto."""

    types: list[tuple[str, str]]
    samples: list[tuple[list[Place], list[int], dict[str, str]]]
    comments: list[str]

    def costs(self) -> Costs:
        costs = Costs()
        for stack, values, _ in self.samples:
            by_type = dict(zip((name for name, _ in self.types), values, strict=True))
            costs.times[stack[0]] += round(by_type["wall"] / 1000)
            costs.calls[stack[0]] += by_type.get("calls", 0)
        return costs


def pprof(data: bytes) -> Pprof:
    groups: dict[int, list[Any]] = {}
    for number, value in fields(gzip.decompress(data)):
        groups.setdefault(number, []).append(value)
    strings = [value.decode() for value in groups[6]]
    assert strings[0] == ""
    functions = {}
    for message in map(dict, map(fields, groups.get(5, []))):
        functions[message[1]] = (strings[message.get(2, 0)], strings[message.get(4, 0)], message.get(5, 0))
    locations = {}
    for message in map(dict, map(fields, groups.get(4, []))):
        locations[message[1]] = functions[dict(fields(message[4]))[1]]
    samples = []
    for message in map(dict, map(fields, groups.get(2, []))):
        label = dict(fields(message[3]))
        stack = [locations[place] for place in varints(message[1])]
        samples.append((stack, varints(message[2]), {strings[label[1]]: strings[label[2]]}))
    types = [(strings[message[1]], strings[message[2]]) for message in map(dict, map(fields, groups[1]))]
    return Pprof(types, samples, [strings[place] for place in groups.get(13, [])])

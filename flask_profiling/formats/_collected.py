"""What a format takes out of a recording, or the sentence that says why there is nothing; nothing is written here."""

from __future__ import annotations

from ..errors import Unavailable
from ..model import ApplicationTree, CallGraph, CallGraphs, CallTree, Cost, SessionRecording

_MOST_SECONDS = 1e9

# The scope of trees that were sampled.
_SAMPLED = "sampled"


def call_graphs(recording: SessionRecording) -> CallGraphs:
    """Return the call graphs by route, else those of the call tree; raises Unavailable where no calls were recorded."""
    graphs = recording.call_graphs()
    if graphs is None:
        raise Unavailable("this session recorded no calls; start one with a CPU engine, for example cpu=cprofile")
    return graphs


def all_calls(recording: SessionRecording) -> CallGraph:
    """Return the calls of all routes together; raises Unavailable where none were recorded.

    Where they were sampled nobody counted them: their numbers are 0, and their times are shares.
    """
    graph = call_graphs(recording).total()
    tree = call_tree(recording)
    if tree is None or counts_calls(tree):
        return graph
    return CallGraph(
        {function: Cost(0, 0, cost.self_time, cost.total_time) for function, cost in graph.functions.items()},
        {edge: Cost(0, 0, cost.self_time, cost.total_time) for edge, cost in graph.edges.items()},
    )


def call_tree(recording: SessionRecording) -> CallTree | None:
    """Return the call tree, if one was recorded."""
    return recording.data(CallTree)


def application_tree(recording: SessionRecording) -> ApplicationTree | None:
    """Return the paths of application code, if they were recorded beside call graphs."""
    return recording.data(ApplicationTree)


def counts_calls(tree: CallTree) -> bool:
    """Tell whether a tree counts calls, and not the samples in which a function was seen."""
    return tree.scope != _SAMPLED


def notes(recording: SessionRecording) -> list[str]:
    """Return every sentence about what the session did not see, without repeats."""
    of_engines = [note for item in recording.recordings for note in item.notes]
    return list(dict.fromkeys([*recording.notes, *of_engines]))


def readable(text: str) -> str:
    """Return ``text`` with lone surrogates spelled out (``\\udc80``), so that it can be printed and stored as UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def plausible(seconds: float) -> float:
    """Return ``seconds`` cut to what a clock can have measured, whatever a damaged recording says."""
    return seconds if 0.0 <= seconds <= _MOST_SECONDS else min(max(0.0, seconds), _MOST_SECONDS)

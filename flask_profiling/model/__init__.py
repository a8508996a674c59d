"""Frozen data that travels between the rooms: from engines through sessions to formats and the store; no behaviour
beyond merging and JSON, no clock, no file, no Flask."""

from __future__ import annotations

from .graph import MORE, NO_COST, CallGraph, CallGraphs, Cost, Function
from .heap import HeapSummary
from .memory import Allocations, Amount, Frame, Growth
from .requests import RouteTimes, bucket_of
from .session import (
    DATA_KINDS,
    RECORDING_VERSION,
    SESSION_ID,
    Artifact,
    Data,
    Part,
    Recording,
    Session,
    SessionOptions,
    SessionRecording,
    WorkerId,
    merge_recordings,
)
from .slow import SlowRequest, SlowRequests, slowest
from .tree import ROOT, ApplicationTree, CallTree, Track, TreeBuilder, inclusive
from .words import human_size, utc

__all__ = [
    "DATA_KINDS",
    "MORE",
    "NO_COST",
    "RECORDING_VERSION",
    "ROOT",
    "SESSION_ID",
    "Allocations",
    "Amount",
    "ApplicationTree",
    "Artifact",
    "CallGraph",
    "CallGraphs",
    "CallTree",
    "Cost",
    "Data",
    "Frame",
    "Function",
    "Growth",
    "HeapSummary",
    "Part",
    "Recording",
    "RouteTimes",
    "Session",
    "SessionOptions",
    "SessionRecording",
    "SlowRequest",
    "SlowRequests",
    "Track",
    "TreeBuilder",
    "WorkerId",
    "bucket_of",
    "human_size",
    "inclusive",
    "merge_recordings",
    "slowest",
    "utc",
]

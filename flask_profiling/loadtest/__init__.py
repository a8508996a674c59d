"""Load for an app: what to send (scenario), when (plan), how (sender), what came of it (tally); no terminal and no
session in here."""

from __future__ import annotations

from .hot import HotRoute, hottest, place
from .plan import Plan
from .scenario import Capture, Scenario, Step, from_paths, parse_scenario
from .sender import Address, Load
from .tally import Condition, Histogram, Outcome, Tally, parse_condition

__all__ = [
    "Address",
    "Capture",
    "Condition",
    "Histogram",
    "HotRoute",
    "Load",
    "Outcome",
    "Plan",
    "Scenario",
    "Step",
    "Tally",
    "from_paths",
    "hottest",
    "parse_condition",
    "parse_scenario",
    "place",
]

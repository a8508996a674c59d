"""What holds for every test: components that must be there (see components.py) and the profile of hypothesis."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import hypothesis
import pytest

from tests.components import all_components_required, enforce

# examples take as long as a busy machine lets them, to run and to make; the timeout of the test bounds them
too_slow = hypothesis.HealthCheck.too_slow
# half as many as by default: every Python and every run draws others
hypothesis.settings.register_profile("profiling", max_examples=50, deadline=None, suppress_health_check=[too_slow])
hypothesis.settings.load_profile("profiling")

# A shell starts what is put into the background with Ctrl-C ignored, and all servers and commands would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_watcher_is_left() -> Iterator[None]:
    """End the sessions of the apps that a test made: their threads would look into directories that are gone."""
    yield
    lifecycle = sys.modules.get("flask_profiling.lifecycle")
    if lifecycle is not None:
        lifecycle.process._finish(recycled=False)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip or fail a test that is marked with ``requires(...)`` and lacks a component."""
    for mark in item.iter_markers("requires"):
        enforce(mark.args, all_required=all_components_required())

"""The endpoints of a real server against the OpenAPI description that the documentation publishes, by schemathesis.

What it sends follows from the description: bounds and what is beyond them, fields and headers that are not described,
methods that do not exist, bodies of the wrong type. An answer may not be a 5xx, nor any that the description lacks.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.components import program, requires
from tests.integration.servers import PROJECT, serve

pytestmark = requires("schemathesis")
EXAMPLES = 10
# What it calls valid may be a 400 all the same: fields in the body and in the query, or all three engines off.
ACROSS_FIELDS = "positive_data_acceptance"


def description() -> dict[str, Any]:
    found = importlib.util.spec_from_file_location("openapi", PROJECT / "docs" / "openapi.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    described: dict[str, Any] = module.description()
    return described


@pytest.mark.timeout(400)
def test_no_request_that_follows_from_the_description_is_answered_otherwise(tmp_path: Path) -> None:
    (tmp_path / "openapi.json").write_text(json.dumps(description()))
    schemathesis = program("schemathesis")
    assert schemathesis is not None
    with serve("werkzeug", tmp_path, environment={"PROFILING_RATE_LIMIT": "1000000 per minute"}) as server:
        run = subprocess.run(
            [
                *(schemathesis, "run", "openapi.json", "--url", f"{server.url}{server.prefix}"),
                *("--phases", "coverage,fuzzing", "--max-examples", str(EXAMPLES), "--generation-deterministic"),
                *("--request-timeout", "120", "--continue-on-failure", "--no-color", "--exclude-checks", ACROSS_FIELDS),
            ],
            cwd=tmp_path,
            env={**os.environ, "NO_PROXY": "127.0.0.1", "COLUMNS": "120"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=360,
            check=False,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        assert "Tested: 5" in run.stdout, run.stdout
        server.stop()
        assert server.start().status == 200
        assert server.stop().status == 200
        assert "Traceback" not in server.log.read_text("utf-8", "replace")

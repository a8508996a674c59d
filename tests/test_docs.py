"""The documentation is true: what it says of commands, settings and shapes is held against the code, and it builds."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner
from flask import Flask, abort
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_profiling import Profiling
from flask_profiling.cli import COMMANDS, profiling
from flask_profiling.config import SETTINGS
from flask_profiling.config.settings import CLI_VARIABLES
from flask_profiling.engines import ENGINES, EngineOptions, RequestEngine
from flask_profiling.formats import FORMATS, Format
from flask_profiling.model import CallGraphs
from flask_profiling.views import BODY_LIMIT, ENDPOINTS
from tests.components import requires
from tests.samples import SAMPLES, everything

PROJECT = Path(__file__).resolve().parents[1]
DOCS = PROJECT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.rst") if "_build" not in path.parts)
CONTRIBUTING = PROJECT / "CONTRIBUTING.rst"
KEYS = {setting.key for setting in SETTINGS}
# known to the tests alone
OWN_VARIABLES = {"PROFILING_TEST_REQUIRE_ALL"}


def tool(name: str) -> ModuleType:
    """Import a module of docs/, which is no package."""
    sys.path.insert(0, str(DOCS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(DOCS))


def block(path: Path, name: str) -> str:
    """Return the code block that has a name."""
    pattern = rf"^\.\. code-block:: \w+\n    :name: {name}\n\n((?:    .*\n|\n)+)"
    (found,) = re.findall(pattern, path.read_text("utf-8"), re.MULTILINE)
    return textwrap.dedent(found)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield page and words of every ``flask profiling`` command line, up to where the shell takes over."""
    for page in [*PAGES, CONTRIBUTING]:
        for line in re.sub(r"\\\n\s+", "", page.read_text("utf-8")).splitlines():
            if "$ " not in line or " profiling " not in line or "flask" not in line:
                continue
            words = shlex.split(line.strip().removeprefix("$ "))
            yield page.name, words[words.index("profiling") + 1 :]


# -- the reference -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    return {name: part() for name, part in tool("generate").PARTS.items()}


def test_every_setting_is_documented(reference: dict[str, str]) -> None:
    for setting in SETTINGS:
        assert f".. envvar:: {setting.key}\n\n   {setting.meaning}\n" in reference["configuration"]
    assert all(f".. envvar:: {name}\n" in reference["configuration"] for name in CLI_VARIABLES)


def test_every_command_and_option_is_documented(reference: dict[str, str]) -> None:
    context = click.Context(profiling)
    for name in COMMANDS:
        command = profiling.get_command(context, name)
        assert command is not None
        title = f"flask profiling {name}"
        assert f"\n{title}\n{'-' * len(title)}\n" in f"\n{reference['cli']}"
        for option in [text for each in command.params for text in each.opts if text.startswith("--")]:
            assert option in f"\n{reference['cli']}".partition(f"\n{title}\n")[2].partition("\nflask profiling ")[0]
    assert "flask profiling baseline check" in reference["cli"]


def test_every_error_code_is_documented_with_its_status(reference: dict[str, str]) -> None:
    errors = importlib.import_module("flask_profiling.errors")
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) > 10
    for kind in kinds:
        assert f"* - ``{kind.code}``\n     - {kind.status}\n" in reference["errors"]
    source = "\n".join(path.read_text("utf-8") for path in Path(tool("generate").PACKAGE, "cli").glob("*.py"))
    codes = {"failed", *re.findall(r'\bcode="(\w+)"', source)}
    assert {"usage", "unreachable"} <= codes
    assert all(f"``{code}``" in reference["errors"] for code in codes)


def test_every_endpoint_format_engine_and_room_is_documented(reference: dict[str, str]) -> None:
    assert all(
        f"\n{each.method} /debug/profiling/{name}\n" in f"\n{reference['http']}" for name, each in ENDPOINTS.items()
    )
    assert all(f"\n{name}\n{'-' * len(name)}\n" in reference["formats"] for name in FORMATS)
    assert all(f"\n{name}\n{'-' * len(name)}\n" in reference["engines"] for name in ENGINES)
    assert "* - 0\n     - ``errors``" in reference["rooms"]
    assert "* - 7\n     - ``flask_profiling``" in reference["rooms"]


# -- the prose ---------------------------------------------------------------------------------------------------------


def test_every_command_line_is_understood() -> None:
    checked = 0
    for page, words in commands():
        command: click.Command = profiling
        context = click.Context(profiling, info_name="flask profiling")
        while isinstance(command, click.Group) and words:
            found = command.get_command(context, words[0])
            assert found is not None, f"{page}: there is no command {words[0]!r}"
            command, words = found, words[1:]
        command.make_parser(context).parse_args(words)  # raises what a user would see
        checked += 1
    assert checked > 20


def test_every_setting_that_is_named_exists() -> None:
    for page in [*PAGES, CONTRIBUTING]:
        named = set(re.findall(r"PROFILING_[A-Z_]+[A-Z]", page.read_text("utf-8")))
        assert named <= KEYS | set(CLI_VARIABLES) | OWN_VARIABLES, page.name


def test_every_target_that_contributors_are_told_of_exists() -> None:
    makefile = (PROJECT / "Makefile").read_text("utf-8") if (PROJECT / "Makefile").exists() else ""
    if not makefile:
        pytest.skip("needs the checkout; this is a copy of the tests")
    named = set(re.findall(r"``make ([a-z]+)", CONTRIBUTING.read_text("utf-8")))
    assert named >= {"core", "test", "docs"}
    assert all(f"\n{target}:" in makefile for target in named)


def test_one_cprofile_gives_a_function_a_caller_of_another_thread_from_312_on() -> None:
    script = DOCS / "explanation" / "mixed_threads.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=30, check=True)
    caller = "work" if sys.version_info >= (3, 12) else "tortoise"
    assert done.stdout == f"helper was called by {caller}\n"
    assert f"``helper was called by {caller}``" in (DOCS / "explanation" / "threads.rst").read_text("utf-8")


@pytest.fixture
def tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The app of the tutorial, wired as ``flask profiling start`` would."""
    monkeypatch.setenv("FLASK_ENV", "development")
    monkeypatch.setenv("PROFILING_ENABLED", "true")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(DOCS / "tutorial"))
    yield importlib.import_module("app")
    del sys.modules["app"]


def test_the_first_flame_chart_shows_what_the_tutorial_says(tutorial: ModuleType, tmp_path: Path) -> None:
    client = tutorial.app.test_client()
    client.post("/debug/profiling/start?heap=false")
    assert [client.get(path).status_code for path in ("/slow", "/quick")] == [200, 200]
    artifacts = client.post("/debug/profiling/stop").json["artifacts"]
    (profile,) = [name for name in artifacts if name.endswith(".cpuprofile")]
    nodes = {node["id"]: node for node in json.loads((tmp_path / profile).read_text("utf-8"))["nodes"]}
    (root,) = [node for node in nodes.values() if node["callFrame"]["functionName"] == "(root)"]
    routes = {nodes[child]["callFrame"]["functionName"]: nodes[child] for child in root["children"]}
    (slow,) = [node for name, node in routes.items() if name.startswith("GET /slow ")]
    below, names = list(slow["children"]), []
    while below:
        node = nodes[below.pop()]
        names.append(node["callFrame"]["functionName"])
        below += node.get("children", ())
    assert {"slow", "squares"} <= set(names)


LEAK = """
from app import app

client = app.test_client()
for requests in (1, 50):
    for _ in range(requests):
        client.get("/quick")
    client.post("/debug/profiling/start", json={"cpu": "off", "heap": True})
    print(*(name for name in client.post("/debug/profiling/stop").json["artifacts"] if name.endswith(".heapsnapshot")))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="heap snapshots are taken in a forked child")
def test_the_leak_of_the_tutorial_is_found_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # in a process of its own, whose heap is that of the app alone
    environment = {**os.environ, "FLASK_ENV": "development", "PROFILING_ENABLED": "true"}
    environment["PYTHONPATH"] = os.pathsep.join([str(DOCS / "tutorial"), str(PROJECT)])
    done = subprocess.run(
        [sys.executable, "-c", LEAK], cwd=tmp_path, env=environment,
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(profiling, ["heap-diff", *done.stdout.split(), "--class", "app.Visit"])
    assert shown.exit_code == 0, shown.output
    assert re.search(r"\+50\b.*\bapp\.Visit\b", shown.output), shown.output
    assert "app.KEPT" in shown.output


# -- the worked examples -----------------------------------------------------------------------------------------------


def executed(name: str, module: str) -> dict[str, object]:
    """Run a worked example as the module that it would become."""
    namespace: dict[str, object] = {"__name__": module, "__package__": module.rpartition(".")[0]}
    exec(compile(block(CONTRIBUTING, name), f"CONTRIBUTING.rst:{name}", "exec", dont_inherit=True), namespace)
    return namespace


def test_the_format_of_the_worked_example_writes() -> None:
    (name, entry), *_ = eval(f"{{{block(CONTRIBUTING, 'format-entry')}}}", {"Format": Format}).items()
    module, _, function = entry.entry.partition(":")
    assert name not in FORMATS
    assert f"``{module.replace('.', '/')}.py``" in CONTRIBUTING.read_text("utf-8")
    write = executed("format", module)[function]
    assert callable(write)
    out = BytesIO()
    write(everything(SAMPLES), out)
    header, *rows = out.getvalue().decode().splitlines()
    assert header == "route,file,line,function,calls,seconds"
    assert [row for row in rows if row.startswith("GET /,") and ",page,1,0.25" in row], rows


def test_the_engine_of_the_worked_example_collects(tmp_path: Path) -> None:
    ((name, entry),) = eval(f"{{{block(CONTRIBUTING, 'engine-entry')}}}").items()
    module, _, factory = entry.partition(":")
    assert name not in ENGINES
    assert f"``{module.replace('.', '/')}.py``" in CONTRIBUTING.read_text("utf-8")
    make = executed("engine", module)[factory]
    assert callable(make)
    engine = make(EngineOptions("prof-example", tmp_path))
    assert isinstance(engine, RequestEngine)
    engine.start()
    for _ in range(2):
        token = engine.enter("GET /")
        engine.leave(engine.enter("GET /inner"))
        engine.leave(token)
    recording = engine.stop()
    assert recording.engine == name
    assert isinstance(recording.data, CallGraphs)
    ((route, graph),) = recording.data.routes.items()
    assert (route, [cost.calls for cost in graph.functions.values()]) == ("GET /", [2])


# -- the OpenAPI description -------------------------------------------------------------------------------------------


def strict(value: object) -> object:
    """Return a description that allows no field but those that it names."""
    if isinstance(value, list):
        return [strict(item) for item in value]
    if not isinstance(value, dict):
        return value
    closed = {} if "properties" not in value or "type" not in value else {"additionalProperties": False}
    return {**closed, **{name: strict(item) for name, item in value.items()}}


@dataclass
class Answers:
    """Asks the app, and holds each answer against the description."""

    client: FlaskClient
    description: dict[str, object] = field(default_factory=lambda: strict(tool("openapi").description()))  # type: ignore[arg-type,return-value]

    def ask(self, method: str, name: str, expected: int, **request: object) -> TestResponse:
        response = self.client.open(f"/debug/profiling/{name}", method=method, **request)  # type: ignore[arg-type]
        assert response.status_code == expected, response.text
        documented = self.responses(name)
        described = documented.get(str(expected), documented["default"])
        reference = described.get("$ref")
        if reference:
            described = self.description["components"]["responses"][reference.rpartition("/")[2]]  # type: ignore[index]
        self.validate(described["content"][response.mimetype]["schema"], response.json)
        assert set(described.get("headers", ())) <= {name for name, _ in response.headers}
        return response

    def responses(self, name: str) -> dict[str, dict[str, object]]:
        (operation,) = self.description["paths"][f"/{name}"].values()  # type: ignore[index]
        return operation["responses"]  # type: ignore[no-any-return]

    def validate(self, schema: dict[str, object], document: object) -> None:
        from jsonschema import Draft202012Validator

        whole = {**schema, "components": self.description["components"]}
        Draft202012Validator.check_schema(whole)
        Draft202012Validator(whole).validate(document)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flask:
    for name in ("FLASK_ENV", "PROFILING_ENABLED", "PROFILING_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    app = Flask("shop")
    app.config.update(
        FLASK_ENV="development",
        PROFILING_ENABLED=True,
        PROFILING_OUTPUT_DIR=str(tmp_path / "profiling"),
        PROFILING_TOKEN="secret",
        PROFILING_ALLOWED_HOSTS="shop.example",
        PROFILING_RATE_LIMIT="5 per minute",
        PROFILING_HEAP=False,
    )
    return app


@pytest.fixture
def answers(app: Flask) -> Answers:
    Profiling(app)
    return Answers(app.test_client())


@requires("jsonschema")
def test_the_answers_of_a_session_have_the_described_shapes(answers: Answers) -> None:
    assert answers.ask("GET", "status", 200).json["lastSession"] is None
    answers.ask("POST", "start", 200, json={"seconds": 60, "cpu": "cprofile"})
    assert answers.ask("GET", "status", 200).json["session"]["state"] == "profiling"
    answers.client.get("/")
    answers.ask("POST", "stop", 200)
    assert answers.ask("GET", "status", 200).json["lastSession"]["endedBy"] == "stop"
    assert answers.ask("GET", "reports", 200).json["reports"]
    assert answers.ask("DELETE", "cleanup", 200).json["cleaned"]["sessions"] == 1


@requires("jsonschema")
def test_slow_requests_have_the_described_shape(answers: Answers) -> None:
    answers.ask("POST", "start", 200, json={"cpu": "calltree", "slow": 1e-6})
    answers.client.get("/")
    (request,) = answers.ask("POST", "stop", 200).json["slowRequests"]
    assert request["status"] == 404


@requires("jsonschema")
@pytest.mark.parametrize(
    ("method", "name", "status", "request_"),
    [
        ("POST", "start", 400, {"json": {"speed": 1}}),
        ("POST", "stop", 400, {"json": {"seconds": 1}}),
        ("DELETE", "cleanup", 400, {"query_string": "all=1"}),
        ("GET", "status", 401, {"headers": {"Host": "shop.example"}}),
        ("GET", "reports", 403, {"headers": {"Host": "evil.example"}}),
        ("POST", "start", 403, {"headers": {"Sec-Fetch-Site": "cross-site"}}),
        ("PUT", "start", 405, {}),
        ("POST", "status", 405, {}),
        ("GET", "cleanup", 405, {}),
        ("POST", "stop", 409, {}),
        ("POST", "start", 413, {"data": b" " * (BODY_LIMIT + 1)}),
        ("DELETE", "cleanup", 413, {"data": b" " * (BODY_LIMIT + 1)}),
    ],
)
def test_a_refusal_has_the_described_shape(
    answers: Answers, method: str, name: str, status: int, request_: dict[str, object]
) -> None:
    assert str(status) in answers.responses(name)
    answers.ask(method, name, status, **request_)


@requires("jsonschema")
def test_a_second_start_and_too_many_calls_are_refused_as_described(answers: Answers) -> None:
    answers.ask("POST", "start", 200)
    assert answers.ask("POST", "start", 409).json["error"] == "already_running"
    for _ in range(3):
        answers.ask("POST", "start", 409)
    assert answers.ask("POST", "start", 429).json["error"] == "too_many_requests"
    answers.ask("POST", "stop", 200)


@requires("jsonschema")
def test_a_refusal_of_the_app_itself_has_the_described_shape(app: Flask, answers: Answers) -> None:
    app.before_request(lambda: abort(404))
    assert answers.ask("GET", "status", 404).json["error"] == "not_found"


@requires("jsonschema")
def test_what_is_not_described_is_found(answers: Answers) -> None:
    from jsonschema import ValidationError

    cleaned = {"success": True, "message": "", "cleaned": {"reports": 0, "sessions": 0}}
    schema = {"$ref": "#/components/schemas/Cleaned"}
    answers.validate(schema, cleaned)
    for wrong in ({**cleaned, "more": 1}, {**cleaned, "cleaned": {"reports": "0", "sessions": 0}}, {"success": True}):
        with pytest.raises(ValidationError):
            answers.validate(schema, wrong)


def test_the_description_covers_the_endpoints_and_every_reference_in_it_leads_somewhere() -> None:
    description = tool("openapi").description()
    assert {path: list(methods) for path, methods in description["paths"].items()} == {
        f"/{name}": [endpoint.method.lower()] for name, endpoint in ENDPOINTS.items()
    }
    references = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(description)))
    assert references
    for reference in references:
        found = description
        for step in reference.split("/"):
            found = found[step]


# -- the build ---------------------------------------------------------------------------------------------------------


@requires("sphinx")
def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "sphinx", "-W", "--keep-going", "-E", "-q", "-b", "html"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)} if (PROJECT / "flask_profiling").exists() else None
    done = subprocess.run(
        [*command, "-d", str(tmp_path / "state"), str(DOCS), str(tmp_path / "html")],
        env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    html = {path.stem: path.read_text("utf-8") for path in (tmp_path / "html" / "reference").glob("*.html")}
    assert all(key in html["configuration"] for key in KEYS)
    assert all(f"flask profiling {name}" in html["cli"] for name in COMMANDS)
    assert all(kind.code in html["errors"] for kind in tool("openapi").errors())
    assert json.loads((tmp_path / "html" / "openapi.json").read_text("utf-8")) == tool("openapi").description()


PICTURES = """
Pictures
========

.. picture:: taken
   :alt: a chart

   What it shows.

.. picture:: missing
   :alt: nothing

   Never seen.
"""


@requires("sphinx")
def test_a_picture_is_shown_where_it_was_taken_and_not_missed_where_not(tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text("extensions = ['figures']\n", "utf-8")
    (tmp_path / "index.rst").write_text(PICTURES, "utf-8")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "taken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "sphinx", "-W", "-E", "-q", "-b", "html", tmp_path, tmp_path / "html"],
        env={**os.environ, "PYTHONPATH": str(DOCS)}, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "html" / "index.html").read_text("utf-8")
    assert 'alt="a chart"' in page
    assert "What it shows." in page
    assert "Never seen." not in page
    assert (tmp_path / "html" / "_images" / "taken.png").is_file()

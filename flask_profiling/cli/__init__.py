"""``flask profiling``: the group and the table of its commands; each lives in its own module, imported when it is used.

To add one, write ``flask_profiling/cli/<name>.py`` with a click command in it and add a line to :data:`COMMANDS`.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import os

import click

from ..errors import ProfilingError
from .failure import FAILED, INTERRUPTED, USAGE, Failure
from .options import remember_json, server_options, wants_json
from .render import discard_output, plain, say, show_failure

# name -> "module:click command"; the order is the order in the help
COMMANDS: dict[str, str] = {
    "start": "flask_profiling.cli.serve:start",
    "dev": "flask_profiling.cli.serve:dev",
    "status": "flask_profiling.cli.session:status",
    "start-session": "flask_profiling.cli.session:start_session",
    "stop-session": "flask_profiling.cli.session:stop_session",
    "reports": "flask_profiling.cli.session:reports",
    "clean": "flask_profiling.cli.session:clean",
    "load-test": "flask_profiling.cli.loadtest:load_test",
    "k6": "flask_profiling.cli.k6:k6",
    "report": "flask_profiling.cli.report:report",
    "slow": "flask_profiling.cli.slow:slow",
    "view": "flask_profiling.cli.view:view",
    "export": "flask_profiling.cli.export:export",
    "compare": "flask_profiling.cli.compare:compare",
    "baseline": "flask_profiling.cli.compare:baseline",
    "heap": "flask_profiling.cli.heap:heap",
    "heap-diff": "flask_profiling.cli.heap:heap_diff",
    "heap-paths": "flask_profiling.cli.heap:heap_paths",
    "config": "flask_profiling.cli.configuration:config",
    "doctor": "flask_profiling.cli.doctor:doctor",
    "help": "flask_profiling.cli.guide:help_command",
}


class ProfilingGroup(click.Group):
    """A group that imports a command when it is used, and ends every command with the right status and one sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, or return None where there is no such name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and name the nearest one where it is mistyped."""
        name = args[0]
        if name in COMMANDS or name.startswith("-"):
            return super().resolve_command(ctx, args)
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "flask profiling help lists the commands."
        raise click.UsageError(f"there is no command {name!r}; {hint}", ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, having seen first whether mistakes are to be reported as JSON and whether colours are welcome."""
        remember_json(ctx, args)
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            ctx.color = False
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a failure is shown as a sentence, or as JSON where that was asked for."""
        try:
            return self._ended(ctx)
        except OSError as error:
            if error.errno == errno.EPIPE:  # click's own: the reader has seen enough
                raise
            discard_output()
            say(f"Error: the command broke off ({plain(error)}); check the disk and the directory it runs in", err=True)
            raise click.exceptions.Exit(FAILED) from None

    def _ended(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except Failure as failure:
            ended = failure
        except ProfilingError as error:
            ended = Failure(error.message, code=error.code)
        except click.UsageError as error:
            if not wants_json(ctx):
                raise
            ended = Failure(error.format_message(), code="usage", exit_status=USAGE)
        except (KeyboardInterrupt, click.Abort) as error:
            # click turns Ctrl-C and the end of input at a question into the same Abort
            at_end = isinstance(error.__context__, EOFError)
            say(err=True)
            ended = Failure("interrupted", code="interrupted", exit_status=FAILED if at_end else INTERRUPTED)
        show_failure(ended, as_json=wants_json(ctx))
        raise click.exceptions.Exit(ended.exit_status)


@click.group(
    cls=ProfilingGroup,
    invoke_without_command=True,
    short_help="Profile the CPU and the memory of the running app.",
    epilog="Exit status: 0 done, 1 refused or failed, 2 usage, 3 server not reachable.",
)
@server_options(seconds=10)
@click.pass_context
def profiling(ctx: click.Context) -> None:
    """Profile the CPU and the memory of the running app.

    Without a command: what the server is doing, and the next sensible step.

    \b
    Example:
      flask profiling start              (in one terminal)
      flask profiling start-session      (in another)
      flask profiling stop-session
    """
    if ctx.invoked_subcommand is None:
        from .session import overview

        overview(ctx)

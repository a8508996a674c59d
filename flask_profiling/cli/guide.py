"""``flask profiling help``: the group's help or one command's."""

from __future__ import annotations

import click

from . import profiling


@click.command("help", short_help="Show this help, or one command's.")
@click.argument("command", required=False)
@click.pass_context
def help_command(ctx: click.Context, command: str | None) -> None:
    """Show what the commands do, or what one COMMAND does.

    \b
    Example:
      flask profiling help stop-session
    """
    group = ctx.parent or ctx
    if command is None:
        click.echo(group.get_help())
        return
    name, found, _ = profiling.resolve_command(group, [command])
    if found is not None:  # click's type allows it; an unknown name was refused above
        with found.make_context(name, [], parent=group, resilient_parsing=True) as context:
            click.echo(found.get_help(context))

"""``flask profiling help``: the group's help or one command's."""

from __future__ import annotations

import click


@click.command("help", short_help="Show this help, or one command's.")
@click.argument("command", required=False)
@click.pass_context
def help_command(ctx: click.Context, command: str | None) -> None:
    """Show what the commands do, or what one COMMAND does.

    \b
    Example:
      flask profiling help stop-session
    """
    parent = ctx.parent
    if parent is None or not isinstance(parent.command, click.Group):
        raise click.UsageError("help belongs to the group; run: flask profiling help", ctx)
    if command is None:
        click.echo(parent.get_help())
        return
    name, found, _ = parent.command.resolve_command(parent, [command])
    if found is not None:
        with found.make_context(name, [], parent=parent, resilient_parsing=True) as context:
            click.echo(found.get_help(context))

"""Groups of commands: helpful when called alone or with a typo, and lazy where that counts."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from click.shell_completion import CompletionItem


class CommandGroup(click.Group):
    """A group that shows its help when called alone, and names the nearest command after a typo."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; none at all ask for the help."""
        asks_for_help = not args and not ctx.resilient_parsing
        return super().parse_args(ctx, ["--help"] if asks_for_help else args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first argument names.

        Raises:
            UsageError: There is none; names the nearest one that there is.
        """
        name = args[0]
        command = self.get_command(ctx, name)
        if command is None and not ctx.resilient_parsing:
            from difflib import get_close_matches

            close = get_close_matches(name, self.known_names(ctx), n=1)
            suggestion = f"; did you mean '{close[0]}'?" if close else ""
            message = f"there is no command '{name}'{suggestion}"
            raise click.UsageError(message, ctx)
        return (name if command else None), command, args[1:]

    def known_names(self, ctx: click.Context) -> list[str]:
        """Return every name that `get_command` knows."""
        return self.list_commands(ctx)


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command is and what the list of commands says about it.

    Attributes:
        path: `module:attribute` of the command.
        help: One short sentence.
    """

    path: str
    help: str

    def load(self) -> click.Command:
        """Import the command."""
        module, _, attribute = self.path.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


class LazyGroup(CommandGroup):
    """A group that knows its commands from a table, and imports one when it is used.

    A name that is not in the table is looked up among the plugins of kind `commands`; only then is their
    metadata read.

    Args:
        table: The commands by name, in the order of the help.
        attributes: What `click.Group` takes.
    """

    def __init__(self, *, table: Mapping[str, LazyCommand], **attributes: Any) -> None:
        super().__init__(**attributes)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the table."""
        return [*self.table]

    def known_names(self, ctx: click.Context) -> list[str]:
        """Return the names in the table and those of the plugins."""
        from kladml_cli.plugin_commands import plugin_command_names

        return [*self.table, *plugin_command_names()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command of the table or of a plugin, or None.

        Raises:
            PluginError: A plugin has that name and cannot be used.
        """
        if cmd_name in self.table:
            return self.table[cmd_name].load()
        from kladml_cli.plugin_commands import find_plugin_command

        return find_plugin_command(cmd_name)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Return the commands that complete a word, without importing one, or the options of the group."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        helps = dict.fromkeys(self.known_names(ctx)) | {name: one.help for name, one in self.table.items()}
        return [CompletionItem(name, help=text) for name, text in helps.items() if name.startswith(incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, which needs no command to be imported."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in self.table.items()])

"""`kladml project`, `kladml family` and `kladml experiment`: what runs are ordered by."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kladml_cli.completion.attach import completes
from kladml_cli.given_entries import entries_of
from kladml_cli.groups import CommandGroup
from kladml_cli.options import global_options
from kladml_cli.settings_options import (
    configuration_options,
    json_option,
    setting_option,
    workspace_option,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kladml.interfaces import CatalogInterface, EntryAddress
    from kladml_cli.configuration import Configuration

Decorated = TypeVar("Decorated", bound="Callable[..., Any]")

_METAVARS = {
    "project": "PROJECT",
    "family": "PROJECT/FAMILY",
    "experiment": "[PROJECT/FAMILY/]EXPERIMENT",
}
_ABOVE = {"family": "[PROJECT]", "experiment": "[PROJECT[/FAMILY]]"}
_EXAMPLES = {
    "project": "CustomerChurn",
    "family": "CustomerChurn/DeepLearning",
    "experiment": "CustomerChurn/DeepLearning/transformer",
}
_PLURALS = {"project": "projects", "family": "families", "experiment": "experiments"}


def _where(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which catalog is meant."""
    catalog = setting_option(
        "--catalog",
        key="catalog.use",
        metavar="NAME",
        help="The catalog that numbers the runs.",
        completing="plugins catalog",
    )
    for option in (global_options(), workspace_option, configuration_options, catalog):
        function = option(function)
    return click.pass_context(function)


def _group(level: str) -> click.Group:
    """Return the group of commands for one level of the hierarchy."""
    help_text = f"Make, list, show, describe and delete {_PLURALS[level]}."
    group = CommandGroup(name=level, help=help_text, epilog=_examples(level, f"create {_EXAMPLES[level]}", "list"))
    for add in (_add_create, _add_list, _add_show, _add_describe, _add_delete):
        add(group, level)
    return group


def _command(group: click.Group, text: str, *examples: str) -> Callable[[Callable[..., None]], click.Command]:
    """Return the decorator that adds a command to a group; the first word of its examples is its name."""
    return group.command(examples[0].partition(" ")[0], help=text, epilog=_examples(group.name, *examples))


def _examples(group: str | None, *examples: str) -> str:
    return "\n".join(("Examples:\n\n\b", *(f"  kladml {group} {example}" for example in examples)))


def _address_argument(level: str, *, is_new: bool = False) -> Callable[[Decorated], Decorated]:
    names = completes(f"{'parents' if is_new else 'entries'} {level}")
    return click.argument("address", metavar=_METAVARS[level], shell_complete=names)


def _add_create(group: click.Group, level: str) -> None:
    example = _EXAMPLES[level]

    @_command(
        group,
        f"Make {_a(level)}.\n\nWhat it stands in is made, too, where that is new. Training makes what it needs by "
        "itself; this is for describing it first.",
        f"create {example}",
        f'create {example} \\\n      --description "Who leaves?"',
    )
    @_address_argument(level, is_new=True)
    @click.option("--description", metavar="TEXT", default="", help="What it is for.")
    @_where
    def create(context: click.Context, *, address: str, description: str, **where: Any) -> None:
        _create(context, level, address, description, **where)


def _add_list(group: click.Group, level: str) -> None:
    examples = ["list", "list --json"]
    if level in _ABOVE:
        examples.insert(1, f"list {_EXAMPLES['project']}")

    @_command(group, f"List {_PLURALS[level]} with what is in them.", *examples)
    @json_option
    @_where
    def list_entries(context: click.Context, *, as_json: bool, below: str | None = None, **where: Any) -> None:
        _list(context, level, below, as_json=as_json, **where)

    if level in _ABOVE:
        above = completes("entries project" if level == "family" else "experiments below")
        argument = click.Argument(["below"], metavar=_ABOVE[level], required=False, shell_complete=above)
        list_entries.params.insert(0, argument)


def _add_show(group: click.Group, level: str) -> None:
    example = _EXAMPLES[level]

    @_command(group, f"Show {_a(level)} and what is in it.", f"show {example}", f"show {example} --json")
    @_address_argument(level)
    @json_option
    @_where
    def show(context: click.Context, *, address: str, as_json: bool, **where: Any) -> None:
        _show(context, level, address, as_json=as_json, **where)


def _add_describe(group: click.Group, level: str) -> None:
    @_command(
        group,
        f"Replace the description of {_a(level)}.\n\nAn empty TEXT takes it away.",
        f'describe {_EXAMPLES[level]} \\\n      "Who leaves?"',
    )
    @_address_argument(level)
    @click.argument("text", metavar="TEXT")
    @_where
    def describe(context: click.Context, *, address: str, text: str, **where: Any) -> None:
        _describe(context, level, address, text, **where)


def _add_delete(group: click.Group, level: str) -> None:
    example = _EXAMPLES[level]

    @_command(
        group,
        f"Delete {_a(level)} from the catalog.\n\nWhat is not empty is deleted with --recursive only, its runs "
        "included. Folders of runs, stored files and what trackers recorded stay, and no run gets the number of a "
        "deleted one.",
        f"delete {example} --dry-run",
        f"delete {example}",
        f"delete {example} \\\n      --recursive --yes",
    )
    @_address_argument(level)
    @click.option("--dry-run", is_flag=True, help="Delete nothing; list what would go.")
    @click.option("--recursive", is_flag=True, help="Delete what is inside, too.")
    @click.option("--yes", is_flag=True, help="Do not ask; --recursive needs it where there is no terminal.")
    @_where
    def delete(
        context: click.Context, *, address: str, recursive: bool, dry_run: bool, yes: bool, **where: Any
    ) -> None:
        _delete(context, level, address, recursive=recursive, dry_run=dry_run, yes=yes, **where)


@contextmanager
def _opened(
    context: click.Context,
    *,
    config_source: str | None,
    profile: str | None,
    workspace: Path | None,
    reading: bool = False,
) -> Iterator[tuple[Configuration, CatalogInterface]]:
    from kladml.workspace import Workspace
    from kladml_cli.configuration import Configuration

    place = Workspace.find(workspace)
    loaded = Configuration(place, source=config_source, profile=profile, overrides=entries_of(context))
    with loaded.open_catalog(checked=not reading) as catalog:
        yield loaded, catalog


def _address(level: str, text: str, loaded: Configuration) -> EntryAddress:
    """Read an address of a level; a bare experiment is one of the configured project and family.

    Raises:
        AddressError: It is malformed, or of another level.
    """
    from kladml.errors import AddressError
    from kladml.interfaces import EntryAddress

    if level == "experiment" and "/" not in text:
        return EntryAddress((loaded.resolved.run.project, loaded.resolved.run.family, text))
    address = EntryAddress.parse(text)
    if address.level != level:
        problem = f"'{text}' names {_a(address.level)}, not {_a(level)}"
        next_step = f"write {_METAVARS[level]}, or use 'kladml {address.level}'"
        raise AddressError(problem, next_step=next_step)
    return address


def _create(context: click.Context, level: str, text: str, description: str, **where: Any) -> None:
    from kladml_cli.entry_output import print_changes

    with _opened(context, **where) as (loaded, catalog):
        address = _address(level, text, loaded)
        new = [above for above in address.lineage if not _is_there(catalog, above)]
        catalog.create_entry(address, description)
    print_changes("made", [(above.level, str(above)) for above in new])


def _is_there(catalog: CatalogInterface, address: EntryAddress) -> bool:
    from kladml.errors import AddressError

    try:
        catalog.get_entry(address)
    except AddressError:
        return False
    return True


def _list(context: click.Context, level: str, below: str | None, *, as_json: bool, **where: Any) -> None:
    from kladml.errors import AddressError
    from kladml.interfaces import LEVELS, EntryAddress
    from kladml_cli.entry_output import as_dict, print_entries
    from kladml_cli.hints import hint
    from kladml_cli.terminal import print_json

    above = None if below is None else EntryAddress.parse(below)
    if above is not None and LEVELS.index(above.level) >= LEVELS.index(level):
        problem = f"'{below}' names {_a(above.level)}, in which there are no {_PLURALS[level]}"
        raise AddressError(problem, next_step=f"'kladml {above.level} show' shows it")
    with _opened(context, **where, reading=True) as (_, catalog):
        entries = catalog.list_entries(level, above)
    if as_json:
        print_json([as_dict(entry) for entry in entries])
    elif entries:
        print_entries(level, entries)
    else:
        of_what = f"no {_PLURALS[level]} in {above}" if above is not None else f"no {_PLURALS[level]} yet"
        hint(f"{of_what}; 'kladml {level} create' makes one, and so does 'kladml train'")


def _show(context: click.Context, level: str, text: str, *, as_json: bool, **where: Any) -> None:
    from shlex import quote

    from kladml.interfaces import LEVELS
    from kladml_cli.entry_output import as_dict, print_entries, print_entry
    from kladml_cli.hints import hint
    from kladml_cli.terminal import print_json

    below = LEVELS[LEVELS.index(level) + 1] if level != LEVELS[-1] else None
    with _opened(context, **where, reading=True) as (loaded, catalog):
        address = _address(level, text, loaded)
        entry = catalog.get_entry(address)
        inside = catalog.list_entries(below, address) if below is not None and not as_json else []
    if as_json:
        print_json(as_dict(entry))
        return
    print_entry(entry)
    if below is not None and inside:
        click.echo()
        print_entries(below, inside)
    elif entry.runs:
        hint(f"'kladml runs list --experiment {quote(str(address))}' lists the runs")


def _describe(context: click.Context, level: str, address: str, text: str, **where: Any) -> None:
    from kladml_cli.entry_output import print_changes

    with _opened(context, **where) as (loaded, catalog):
        entry = catalog.describe_entry(_address(level, address, loaded), text)
    print_changes("described", [(level, str(entry.address))])


def _delete(
    context: click.Context, level: str, text: str, *, recursive: bool, dry_run: bool, yes: bool, **where: Any
) -> None:
    from kladml.interfaces.refusals import contents
    from kladml_cli.confirmation import confirm_deletion
    from kladml_cli.entry_output import print_removal
    from kladml_cli.entry_removal import not_being_trained, refuse_unless_empty, stored_places

    with _opened(context, **where) as (loaded, catalog):
        address = _address(level, text, loaded)
        removal = catalog.delete_entry(address, dry_run=True)
        stored = stored_places(catalog, removal, loaded)
        if dry_run:
            print_removal("would remove", removal, loaded.workspace, stored)
            return
        if not recursive:
            refuse_unless_empty(removal)
        elif not removal.is_empty:
            confirm_deletion(f"Delete {level} '{address}' with {contents(removal)}?", yes=yes)
        with not_being_trained(catalog, removal, loaded.workspace):
            removal = catalog.delete_entry(address, recursive=recursive)
    print_removal("removed", removal, loaded.workspace, stored)


def _a(level: str) -> str:
    return f"an {level}" if level == "experiment" else f"a {level}"


project, family, experiment = map(_group, _METAVARS)

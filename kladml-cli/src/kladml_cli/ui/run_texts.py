"""What is said of a run, as text: parameters, files, and what it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from kladml_cli.ui.base import STATUS_STYLES, clipped
from kladml_cli.ui.facts import diff, pairs
from kladml_cli.ui.shades import shade

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kladml.history.pages import RunPage
    from kladml.interfaces import CatalogRun
    from kladml_cli.run_place import OpenPlace


def heading(page: RunPage, publisher: str | None, width: int) -> Text:
    """Return the address, the status and the times of a run, and the publisher that it is heard through.

    Args:
        page: The run.
        publisher: The publisher that is listened to, or None.
        width: Columns that there are; the address gets what the rest leaves.
    """
    from kladml_backends_console.wording import clock

    run = page.run
    rest = Text("  ").append(run.status, style=shade(STATUS_STYLES.get(run.status, "")))
    if run.status == "RUNNING":
        heard = "" if publisher is None else f", live from {publisher}"
        rest.append(f"  for {clock(page.seconds)}{heard}", style="not bold")
    else:
        rest.append(f"  {run.started_at.astimezone():%Y-%m-%d %H:%M}", style="not bold")
        if run.ended_at is not None:
            rest.append(f", took {clock(page.seconds)}", style="not bold")
    return Text(clipped(page.address, width - len(rest)), no_wrap=True).append_text(rest)


def parameters(page: RunPage, *, with_all: bool) -> Text:
    """Return the parameters; those at their defaults only if asked for."""
    from kladml.config import RunConfig, schema_keys

    keys = schema_keys(RunConfig)
    shown = {
        name: value
        for name, value in page.params.items()
        if with_all or name not in keys or value != keys[name].default
    }
    text = pairs("", shown.items())
    left = len(page.params) - len(shown)
    if not page.params:
        text.append("nothing is known of its parameters", style="dim")
    elif left:
        text.append(f"\n{left} more at their defaults; a shows them", style="dim")
    return text


def files(storage: str | None, names: Sequence[str]) -> Text:
    """Return the files that a run stored."""
    if storage is None:
        return Text("it stores no files", style="dim")
    count = f"{len(names)} file{'s' if len(names) != 1 else ''}"
    return Text().append(f"{count} in storage {storage}\n\n", style="dim").append("\n".join(names))


def stored_files(opened: OpenPlace, run: CatalogRun) -> tuple[str | None, list[str]]:
    """Return the storage of a run and the names of its files there.

    Raises:
        BackendError: The storage fails.
        ConfigError: Its settings do not fit.
        PluginError: It cannot be used.
    """
    place = opened.storage_of(run)
    if place is None:
        return None, []
    storage, bucket = place
    prefix = f"{run.address.path}/"
    return run.backends.get("storage"), [key.removeprefix(prefix) for key in storage.iter_files(bucket, prefix)]


def origin(page: RunPage) -> Text:
    """Return code, data, plugins and environment."""
    text = pairs("code", [("version", page.code_version)])
    changes = page.code_diff()
    if changes:
        text.append(f"with {len(changes.splitlines())} lines of changes, see below\n", style="dim")
    data = [("fingerprint", page.data_fingerprint)]
    data += [("validation", page.val_fingerprint)] if page.val_fingerprint is not None else []
    named = page.record.tags.get("kladml.data")
    text += Text("\n") + pairs("data", [*([("version", named)] if named else []), *data])
    text += Text("\n") + pairs("plugins", [("", plugin) for plugin in page.plugins])
    text += Text("\n") + pairs("environment", page.environment.items())
    if page.distributions:
        text += Text("\n") + pairs(f"{len(page.distributions)} packages", page.distributions.items())
    if changes:
        text += Text("\n") + Text().append("changes of the code\n", style="bold underline") + diff(changes.splitlines())
    return text

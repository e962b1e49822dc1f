"""Completing addresses of runs, experiments, families and projects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kladml.interfaces import LEVELS, ExperimentAddress
from kladml_cli.completion.surroundings import item

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from click.shell_completion import CompletionItem

    from kladml_cli.completion.surroundings import Surroundings

_RANKS = {"-1": "the newest", "best": "the best"}


def runs(here: Surroundings, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete the address of a run: first the experiment, then its number."""
    place, at, label = incomplete.rpartition("@")
    if not at:
        if not incomplete and _own(here) is not None:
            yield from (item(f"@{rank}", f"{what} of {_own(here)}") for rank, what in _RANKS.items())
        for text in _matching(_short_and_full(here), incomplete):
            yield item(f"{text}@", goes_on=True)
        return
    experiment = _meant(here, place) if place else _own(here)
    if experiment is None or here.catalog is None:
        return
    known = here.catalog.labels(experiment)
    ranks = [(rank, what) for rank, what in _RANKS.items() if known]
    for name, what in [*ranks, *known]:
        if name.startswith(label):
            yield item(f"{place}@{name}", what)


def resumable(here: Surroundings, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete what a training goes on from: a run, the latest one, or a folder of checkpoints."""
    from kladml_cli.completion.files import files

    if "latest".startswith(incomplete):
        yield item("latest", "the newest run of the experiment")
    yield from runs(here, incomplete)
    yield from files(here, incomplete)


def checkpoints(here: Surroundings, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete a run or a folder."""
    from kladml_cli.completion.files import folders

    yield from runs(here, incomplete)
    yield from folders(here, incomplete)


def configs_or_runs(here: Surroundings, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete what has a configuration: a run, a file or a name."""
    from kladml_cli.completion.files import configs

    yield from runs(here, incomplete)
    yield from configs(here, incomplete)


def experiments(here: Surroundings, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete an experiment of which runs are meant, by its name alone where that says which."""
    for text in _matching(_short_and_full(here), incomplete):
        yield item(text)


def entries(here: Surroundings, incomplete: str, level: str) -> Iterator[CompletionItem[str]]:
    """Complete the address of a project, a family or an experiment.

    An experiment's name alone is one of the configured project and family.
    """
    if here.catalog is None:
        return
    for names in here.catalog.entries(level):
        bare = level == LEVELS[-1] and names[:-1] == (here.configured.project, here.configured.family)
        for text in (names[-1], "/".join(names)) if bare else ("/".join(names),):
            if text.startswith(incomplete) and (incomplete or not bare or "/" not in text):
                yield item(text)


def parents(here: Surroundings, incomplete: str, level: str) -> Iterator[CompletionItem[str]]:
    """Complete what a new family or experiment would stand in."""
    if here.catalog is None:
        return
    for above in LEVELS[: LEVELS.index(level)]:
        if incomplete.count("/") == LEVELS.index(above):
            for names in here.catalog.entries(above):
                if (text := f"{'/'.join(names)}/").startswith(incomplete):
                    yield item(text, goes_on=True)


def experiments_below(here: Surroundings, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete a project or a family, of which the experiments are listed."""
    yield from entries(here, incomplete, "project")
    yield from entries(here, incomplete, "family")


def _known(here: Surroundings) -> list[ExperimentAddress]:
    return [] if here.catalog is None else here.catalog.experiments() or []


def _short_and_full(here: Surroundings) -> list[tuple[str, str]]:
    """Return of each experiment the shortest text that means it where runs are named, and its address."""
    known = _known(here)
    last: dict[str, list[ExperimentAddress]] = {}
    for address in known:
        last.setdefault(address.experiment, []).append(address)
    found = []
    for address in known:
        alike = last[address.experiment]
        is_default = address.project == address.family == "default"
        is_short = is_default or len(alike) == 1
        found.append((address.experiment if is_short else str(address), str(address)))
    return found


def _matching(texts: Iterable[tuple[str, str]], incomplete: str) -> list[str]:
    """Return the texts that go on from one: the shorter ones where nothing else is typed."""
    both = list(texts)
    short = [text for text, _ in both if text.startswith(incomplete)]
    if short and "/" not in incomplete:
        return short
    return list(dict.fromkeys([*short, *(full for _, full in both if full.startswith(incomplete))]))


def _meant(here: Surroundings, place: str) -> ExperimentAddress | None:
    """Return the experiment that a text means, as `kladml.history.references` finds it; None if that is not clear."""
    known = {str(address): address for address in _known(here)}
    names = place.split("/")
    exact = "/".join([*["default"] * (len(LEVELS) - len(names)), *names])
    if exact in known:
        return known[exact]
    found = [address for text, address in known.items() if text.endswith(f"/{place}")]
    return found[0] if len(found) == 1 else None


def _own(here: Surroundings) -> ExperimentAddress | None:
    """Return the experiment of an address that names none: the given, the configured, or the only one with runs."""
    given = here.given("experiment")
    if given:
        return _meant(here, given)
    if here.names_an_experiment:
        return here.configured
    known = _known(here)
    if len(known) > 1 and here.catalog is not None:
        known = here.catalog.experiments_with_runs()
    return known[0] if len(known) == 1 else None

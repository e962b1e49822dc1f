"""The errors with which catalogs refuse what does not fit the hierarchy, worded alike whoever raises them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unicodedata import category

from kladml.errors import AddressError, CatalogError, NotEmptyError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kladml.interfaces.address import EntryAddress
    from kladml.interfaces.catalog_entries import Removal

LONGEST_DESCRIPTION = 2000

_MOST_SHOWN = 3
_SIMILARITY = 0.6
_ALLOWED = {"\n", "\t"}


def unknown_entry(address: EntryAddress, known: Iterable[EntryAddress], owner: str | None = None) -> AddressError:
    """Return the error for an address that names nothing; it names the nearest ones of the same level.

    Args:
        address: The address.
        known: All addresses that there are; those of other levels are left out.
        owner: Who says so.
    """
    problem = f"there is no {address.level} '{address}'"
    nearest = _nearest(address, [other for other in known if other.level == address.level])
    listing = f"'kladml {address.level} list' shows those there are"
    if nearest:
        listing = f"did you mean {' or '.join(repr(str(other)) for other in nearest)}? {listing}"
    return AddressError(problem, owner=owner, next_step=listing)


def _nearest(address: EntryAddress, others: list[EntryAddress]) -> list[EntryAddress]:
    """Return the likeliest meant: those of the same name elsewhere, then those that are spelt alike."""
    from difflib import get_close_matches

    same_name = [other for other in others if other.names[-1].casefold() == address.names[-1].casefold()]
    spelt = {str(other).casefold(): other for other in others}
    alike = get_close_matches(str(address).casefold(), spelt, n=_MOST_SHOWN, cutoff=_SIMILARITY)
    found = dict.fromkeys([*(spelt[text] for text in alike), *same_name])
    return [*found][:_MOST_SHOWN]


def taken_entry(address: EntryAddress, owner: str | None = None) -> AddressError:
    """Return the error for an address at which there is something already."""
    problem = f"there is {_article(address.level)} '{address}' already"
    next_step = f"'kladml {address.level} describe' changes its description"
    return AddressError(problem, owner=owner, next_step=next_step)


def not_empty(removal: Removal, owner: str | None = None) -> NotEmptyError:
    """Return the error for an entry that is not deleted, because something is inside."""
    problem = f"{removal.address.level} '{removal.address}' is not empty: it holds {contents(removal)}"
    return NotEmptyError(problem, owner=owner, next_step="delete them first, or delete recursively")


def contents(removal: Removal) -> str:
    """Return how much is inside of what is deleted, such as `2 experiments and 12 runs`."""
    levels = [other.level for other in removal.below]
    counts = {
        "family": levels.count("family"),
        "experiment": levels.count("experiment"),
        "run": len(removal.runs),
    }
    plurals = {"family": "families"}
    parts = [
        f"{count} {name if count == 1 else plurals.get(name, f'{name}s')}" for name, count in counts.items() if count
    ]
    return " and ".join(", ".join(parts).rsplit(", ", 1)) or "nothing"


def checked_description(text: str, owner: str | None = None) -> str:
    """Return a description that any catalog can keep and any terminal can show.

    Raises:
        CatalogError: It holds control characters other than line breaks and tabs, or is too long.
    """
    if len(text) > LONGEST_DESCRIPTION:
        problem = f"the description has {len(text)} characters"
        raise CatalogError(problem, owner=owner, next_step=f"use up to {LONGEST_DESCRIPTION}")
    for character in text:
        # Escape sequences would command the terminal of whoever lists it, and no database keeps half a pair.
        if category(character) in ("Cc", "Cs") and character not in _ALLOWED:
            problem = f"the description holds the control character {character!r}"
            raise CatalogError(problem, owner=owner, next_step="leave it out")
    return text


def _article(level: str) -> str:
    return f"an {level}" if level == "experiment" else f"a {level}"

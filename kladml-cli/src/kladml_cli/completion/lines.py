"""What was typed, as a shell reads it: words, quotes, and the word that is not finished."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SPECIAL = re.compile(r"""([\s\\'"`$&|;<>()*?\[\]!#{}^])""")
_IN_DOUBLE_QUOTES = '\\"$`'


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a shell, up to the cursor.

    Attributes:
        words: The words before the last one, without their quotes.
        raw: The last word as it was typed; empty after a space.
    """

    words: list[str]
    raw: str

    @classmethod
    def parse(cls, text: str) -> Line:
        """Read a line; a quote that is still open and a last backslash harm nothing."""
        words: list[str] = []
        start, quote, place = 0, "", 0
        while place < len(text):
            character = text[place]
            if character == "\\" and quote != "'":
                place += 1
            elif quote:
                quote = "" if character == quote else quote
            elif character in "'\"":
                quote = character
            elif character.isspace():
                if place > start:
                    words.append(unquoted(text[start:place])[0])
                start = place + 1
            place += 1
        return cls(words, text[start:])


def unquoted(raw: str) -> tuple[str, str]:
    """Return what a word means, and the quote that is open at its end or an empty text."""
    text, quote, place = "", "", 0
    while place < len(raw):
        character = raw[place]
        if character == "\\" and quote != "'":
            place += 1
            following = raw[place : place + 1]
            text += following if not quote or following in _IN_DOUBLE_QUOTES else character + following
        elif quote:
            text += "" if character == quote else character
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        else:
            text += character
        place += 1
    return text, quote


def quoted(text: str, quote: str) -> str:
    """Return text as it is typed in a word, inside of an open quote or with a backslash before what needs it."""
    if quote == "'":
        return text.replace("'", "'\\''")
    if quote:
        return "".join(f"\\{character}" if character in _IN_DOUBLE_QUOTES else character for character in text)
    return _SPECIAL.sub(r"\\\1", text)

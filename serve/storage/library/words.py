"""The words by which pictures are found: equal on both databases, whatever their own rules are."""

from __future__ import annotations

import re
import unicodedata

MAX_WORD_CHARS = 64
"""The rest of a longer word is left out."""

_WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """Return the words of a text in order: small letters and digits, without accents.

    A script without spaces between words gives one long word; its beginning finds it.
    """
    plain = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(char for char in plain if not unicodedata.combining(char))
    return [word[:MAX_WORD_CHARS] for word in _WORD.findall(bare)]

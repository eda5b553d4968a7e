"""Finds blocked words and phrases in a text, in time linear in its length.

A phrase is found if its words stand in the text as whole words in its order, with only characters
between them that are neither letter nor digit: ``red cat`` in ``Red-CAT!``. Capitals, accents,
width and style of letters make no difference, nor do invisible characters, nor letters of other
alphabets that look like Latin ones. A phrase of three letters or digits or more is also found

- with digits, signs and look-alike capitals in place of letters (``c4t``, ``a$$``, ``heII``), but
  not in numbers;
- with its letters apart, all of them by spaces or all by signs (``c a t``, ``c-a-t``);
- in its regular English plural (``cats``, ``boxes``, ``ponies``). A phrase that ends in ``s`` takes
  ``es`` only: ``bras`` is not found in ``brass``.

Scripts without spaces between words have no word borders: in them a phrase is found anywhere. A
phrase without letters and digits is looked for by its pictographs (emoji).

Not found: other forms of a word, misspellings, doubled letters, words glued to others,
translations.
"""

# ruff: noqa: RUF001 - this module lists letters of other alphabets
from __future__ import annotations

import re
import sys
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

MIN_VARIED_CHARS = 3
"""Shorter phrases are found only as written: ``3d`` would be a disguised ``ed``."""

_INVISIBLE_CATEGORIES = {"Cf", "Cc", "Mn", "Me"}
_INVISIBLE_LETTERS = "\u115f\u1160"
# Unicode shows none of these code points, nor those that have no character yet.
_IGNORABLE = re.compile("[\u2065\ufff0-\ufff8\U000e0000-\U000e0fff]")
_PICTOGRAPHS = "So"
# Pairs of a letter and the Latin one that it looks like, in lower case or in capitals.
_LOOK_ALIKES = (
    "аa вb гr еe кk мm нh оo рp сc тt уy хx ѕs іi јj ԁd ԛq ԝw һh ӏl үy ѵv "  # Cyrillic
    "αa βb εe ζz ηh ιi κk μm νv οo ρp σo τt υy χx ωw "  # Greek
    "օo սu հh ցg ıi łl øo đd ɑa ɡg ʋv ɗd ŧt ȼc ɇe ƀb "  # Armenian, Latin
    "ⲁa ⲃb ⲉe ⲏh ⲓi ⲕk ⲙm ⲛn ⲟo ⲣp ⲥc ⲧt ⲩy ⲭx "  # Coptic
    "Ꭺa Ᏼb Ꮯc Ꭰd Ꭼe Ꮐg Ꮋh Ꭵi Ꭻj Ꮶk Ꮮl Ꮇm Ꮲp Ꭱr Ꮢr Ꮪs Ꭲt Ꮩv Ꮃw Ꮓz "  # Cherokee
    "ꓮa ꓐb ꓚc ꓓd ꓰe ꓝf ꓖg ꓧh ꓲi ꓙj ꓗk ꓡl ꓟm ꓠn ꓳo ꓑp ꓣr ꓢs ꓔt ꓴu ꓦv ꓪw ꓫx ꓬy ꓜz "  # Lisu
    "ᴀa ʙb ᴄc ᴅd ᴇe ꜰf ɢg ʜh ɪi ᴊj ᴋk ʟl ᴍm ɴn ᴏo ᴘp ꞯq ʀr ꜱs ᴛt ᴜu ᴠv ᴡw ʏy ᴢz"  # small capitals
)
_SQUARED = {first + n: chr(ord("a") + n) for first in (0x1F150, 0x1F170) for n in range(26)}
_FOLDS = {ord(pair[0]): pair[1] for pair in _LOOK_ALIKES.split()} | _SQUARED
# Greek letters whose capital and small form look like two different letters have a second reading.
_DISGUISES = str.maketrans("013456789@$!|€Νημυ", "oieasgtbgasilennuu")
# A 1 stands for an i or for an l, a capital I after a small letter only for an l.
_ELLS = re.compile("1|(?<=[a-z])I+")
_SIGNS = "@$!|€"
_CHUNK = re.compile(rf"[\w{_SIGNS}]+|[^\w{_SIGNS}]+")
# Scripts without spaces between words: each of their characters counts as a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")

_NOTHING = sys.maxsize


class WordFilter:
    """Finds the first of many phrases that a text holds; see the module for what is found.

    Args:
        phrases: in order of preference. A phrase that fails :func:`is_phrase` is never found.
    """

    def __init__(self, phrases: Sequence[str]) -> None:
        plain: list[tuple[Sequence[str], int]] = []
        varied: list[tuple[Sequence[str], int]] = []
        for number, phrase in enumerate(phrases):
            folded = _folded(phrase)
            words = _words(folded)
            plain.append((words or _pictographs(folded), number))
            for reading in (words, _words(_folded(_undisguised(phrase)))):
                varied += [(form, number) for form in _forms(reading)]
        self._plain = _SequenceFinder(plain)
        self._varied = _SequenceFinder(varied)
        self._apart = _SequenceFinder(("".join(form), number) for form, number in varied)

    def first_in(self, text: str) -> int | None:
        """Return the index in ``phrases`` of the first one that a text holds; None for none."""
        plain = _folded(text)
        found = min(map(self._plain.first_in, (_words(plain), _pictographs(plain))))
        for reading in {plain, *(_folded(_undisguised(text, ells=ells)) for ells in (False, True))}:
            found = min(found, self._varied.first_in(_words(reading)))
            for letters in _letters_apart(reading):
                found = min(found, self._apart.first_in(letters))
        return None if found == _NOTHING else found


def is_phrase(text: str) -> bool:
    """Return True if a text has a letter, a digit or a pictograph to look for."""
    folded = _folded(text)
    return bool(_words(folded) or _pictographs(folded))


class _SequenceFinder:
    """Finds the lowest number among the sequences that another sequence holds.

    The automaton of Aho and Corasick (1975): a search takes at most two steps an element.
    """

    def __init__(self, numbered: Iterable[tuple[Sequence[str], int]]) -> None:
        self._next: list[dict[str, int]] = [{}]
        self._number = [_NOTHING]
        for sequence, number in numbered:
            if sequence:
                self._add(sequence, number)
        self._fallback = [0] * len(self._next)
        self._link()

    def first_in(self, sequence: Iterable[str]) -> int:
        """Return the lowest number of a sequence that stands in this one, or ``_NOTHING``."""
        node, found = 0, _NOTHING
        for element in sequence:
            node = self._step(node, element)
            found = min(found, self._number[node])
        return found

    def _add(self, sequence: Sequence[str], number: int) -> None:
        node = 0
        for element in sequence:
            child = self._next[node].setdefault(element, len(self._next))
            if child == len(self._next):
                self._next.append({})
                self._number.append(_NOTHING)
            node = child
        self._number[node] = min(self._number[node], number)

    def _link(self) -> None:
        """Point each node to that of its longest proper suffix, shorter sequences first."""
        nodes = deque(self._next[0].values())
        while nodes:
            node = nodes.popleft()
            for element, child in self._next[node].items():
                suffix = self._step(self._fallback[node], element)
                self._fallback[child] = suffix
                self._number[child] = min(self._number[child], self._number[suffix])
                nodes.append(child)

    def _step(self, node: int, element: str) -> int:
        while node and element not in self._next[node]:
            node = self._fallback[node]
        return self._next[node].get(element, 0)


def _forms(words: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the forms in which a phrase is found when it is long enough to be varied."""
    if sum(map(len, words)) < MIN_VARIED_CHARS:
        return
    yield words
    for plural in _plurals(words[-1]):
        yield [*words[:-1], plural]


def _plurals(word: str) -> tuple[str, ...]:
    if len(word) < MIN_VARIED_CHARS or not "a" <= word[-1] <= "z":
        return ()
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return (f"{word}es",)
    if word.endswith("y") and word[-2] not in "aeiou":
        return (f"{word[:-1]}ies",)
    return (f"{word}s", f"{word}es") if word.endswith("o") else (f"{word}s",)


def _folded(text: str) -> str:
    """Return a text without capitals, accents, styles, look-alikes and invisible characters."""
    # Marks go first: putting a long row of them in order would take quadratic time.
    seen = "".join(filter(_is_seen, text))
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", seen).casefold())
    return "".join(filter(_is_seen, plain)).translate(_FOLDS)


def _undisguised(text: str, *, ells: bool = False) -> str:
    """Return a text with letters for the digits and signs that stand for them.

    Numbers of several digits stay; signs that end or quote a word go: ``c4t!``, ``||c4t||``.

    Args:
        text: with letters that may be disguised.
        ells: read ``1``, and ``I`` after a small letter, as an l.
    """
    chunks = _CHUNK.findall(unicodedata.normalize("NFKD", "".join(filter(_is_seen, text))))
    return "".join(chunk if _is_number(chunk) else _letters(chunk, ells) for chunk in chunks)


def _letters(chunk: str, ells: bool) -> str:
    chunk = chunk.strip("!|")
    if ells:
        chunk = _ELLS.sub(lambda found: "l" * len(found[0]), chunk)
    return chunk.translate(_DISGUISES)


def _is_number(chunk: str) -> bool:
    digits = chunk.strip(_SIGNS)
    return len(digits) > 1 and digits.isdecimal()


def _is_seen(char: str) -> bool:
    if char in _INVISIBLE_LETTERS or _IGNORABLE.match(char):
        return False
    return char.isspace() or unicodedata.category(char) not in _INVISIBLE_CATEGORIES


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _pictographs(text: str) -> list[str]:
    return [char for char in text if unicodedata.category(char) == _PICTOGRAPHS]


def _letters_apart(text: str) -> Iterator[list[str]]:
    """Yield each run of single letters that only spaces, or only signs, keep apart.

    A space keeps the article in ``a S.S. ship`` apart, so it does not belong to ``S.S.``.
    """
    letters: list[str] = []
    is_spaced, end = None, 0
    for word in _WORD.finditer(text):
        gap_is_spaced = any(map(str.isspace, text[end : word.start()]))
        end = word.end()
        if len(word[0]) == 1 and letters and is_spaced in (None, gap_is_spaced):
            letters.append(word[0])
            is_spaced = gap_is_spaced
            continue
        yield letters
        last = letters[-1:]
        letters, is_spaced = [], None
        if len(word[0]) == 1:
            letters = [*last, word[0]]
            is_spaced = gap_is_spaced if last else None
    yield letters

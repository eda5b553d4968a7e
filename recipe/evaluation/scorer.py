"""Scores any picture by a prompt in the demo models' vocabulary; nothing in it is learned.

`cascade compare` loads :func:`score_picture` by its path, in place of which an operator may name a
scorer of theirs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from recipe.evaluation.metric import score
from recipe.scenes.captions import (
    COLOUR_WORDS,
    OPENINGS,
    PLACE_PHRASES,
    PRAISE,
    SHAPE_WORDS,
    SIZE_WORDS,
    TEXTURE_PHRASES,
    TEXTURE_WORDS,
)
from recipe.scenes.scene import COLOUR_NAMES, PLACES, SHAPES, SIZES, TEXTURES, Scene, Thing

NAME: Final = "right"
"""Of the score: the share of what the prompt names that is right in the picture."""

Vocabulary = Mapping[str, str]


def _meanings(names: tuple[str, ...], words: Mapping[str, tuple[str, ...]]) -> Vocabulary:
    """Return which name each word or phrase stands for, the longest first."""
    pairs = {word: name for name in names for word in (name, *words.get(name, ()))}
    return {word: pairs[word] for word in sorted(pairs, key=len, reverse=True)}


_COLOURS: Final = _meanings(COLOUR_NAMES, COLOUR_WORDS)
_SHAPES: Final = _meanings(SHAPES, SHAPE_WORDS)
_SIZES: Final = _meanings(SIZES, SIZE_WORDS)
_TEXTURES: Final = _meanings(
    TEXTURES,
    {name: (*TEXTURE_WORDS[name], *TEXTURE_PHRASES.get(name, ())) for name in TEXTURES},
)
_PLACES: Final = _meanings(tuple(PLACES), PLACE_PHRASES)
_BACKGROUND: Final = re.compile(
    rf",? ?(?:(?:on|against|with) (?:an? )?)?({'|'.join(_COLOURS)})(?: (?:background|backdrop))?$"
)
_DECORATION: Final = re.compile(rf"^(?:{'|'.join(OPENINGS)})|(?:, (?:{'|'.join(PRAISE)}))+$|[.!]$")
_SMALL_WORDS: Final = frozenset(["a", "an", "the", "and", "in", "on", "at", "near", "with"])


@dataclass(frozen=True, slots=True)
class _Named:
    """What a phrase names of one thing; None where it leaves that open."""

    shape: str
    colour: str | None
    texture: str
    place: str | None
    size: str | None


def score_picture(picture: Image.Image, prompt: str) -> Mapping[str, float]:
    """Return the share of what a prompt names that is right in a picture.

    Returns:
        The share as ``right``; nothing for a prompt with other words than those of the demo models.
    """
    named = _read(prompt)
    if named is None:
        return {}
    background, things = named
    scene = Scene(
        background or COLOUR_NAMES[0],
        tuple(_thing(one, picture.size) for one in things),
        0,
        *picture.size,
    )
    found = score(np.asarray(picture.convert("RGB")), scene)
    flags = [] if background is None else [found.background]
    for one, right in zip(things, found.things, strict=True):
        flags += [right.shape, right.texture]
        flags += [right.colour] if one.colour else []
        flags += [right.place] if one.place else []
    return {NAME: sum(flags) / len(flags)}


def _read(prompt: str) -> tuple[str | None, list[_Named]] | None:
    """Return the background and the things that a prompt names; None if it is of another world."""
    text, before = " ".join(prompt.lower().split()), ""
    while text != before:
        text, before = _DECORATION.sub("", text).strip(), text
    found = _BACKGROUND.search(text)
    background = _COLOURS[found[1]] if found else None
    body = text[: found.start()] if found else text
    things = [_named(phrase) for phrase in body.split(" and ")]
    known = [one for one in things if one is not None]
    if len(known) != len(things) or not 1 <= len(known) <= 2:
        return None
    if len(known) == 2 and None in (known[0].place, known[1].place):
        return None  # which one is which cannot be told
    return background, known


def _named(phrase: str) -> _Named | None:
    place, rest = _taken(phrase, _PLACES)
    texture, rest = _taken(rest, _TEXTURES)
    size, rest = _taken(rest, _SIZES)
    shape, rest = _taken(rest, _SHAPES)
    colour, rest = _taken(rest, _COLOURS)
    if shape is None or set(rest.split()) - _SMALL_WORDS:
        return None
    return _Named(shape, colour, texture or TEXTURES[0], place, size)


def _taken(text: str, vocabulary: Vocabulary) -> tuple[str | None, str]:
    """Return what the first phrase of a vocabulary means, and the text without it."""
    for phrase, name in vocabulary.items():
        found = re.search(rf"\b{re.escape(phrase)}\b", text)
        if found:
            return name, text[: found.start()] + text[found.end() :]
    return None, text


def _thing(named: _Named, size_px: tuple[int, int]) -> Thing:
    place = named.place or next(iter(PLACES))
    at_x, at_y = PLACES[place]
    return Thing(
        shape=named.shape,
        colour=named.colour or COLOUR_NAMES[0],
        texture=named.texture,
        place=place,
        size=named.size or SIZES[0],
        x_px=at_x * size_px[0],
        y_px=at_y * size_px[1],
        radius_px=0.0,
    )

"""Sentences about scenes: varied ones for training and one exact form for evaluation."""

import random
from dataclasses import dataclass
from typing import Final

from recipe.scenes.scene import Scene, Thing

COLOUR_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "cyan": ("cyan", "cyan", "turquoise", "teal"),
    "purple": ("purple", "purple", "violet"),
    "red": ("red", "red", "red", "crimson"),
    "yellow": ("yellow", "yellow", "yellow", "golden"),
}
SHAPE_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "circle": ("circle", "circle", "circle", "disc", "ball"),
    "square": ("square", "square", "square", "box"),
    "ring": ("ring", "ring", "donut"),
}
TEXTURE_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "plain": ("plain", "solid", "smooth"),
    "striped": ("striped", "striped", "stripy"),
    "dotted": ("dotted", "dotted", "spotted"),
    "checkered": ("checkered", "checkered", "checked"),
}
TEXTURE_PHRASES: Final[dict[str, tuple[str, ...]]] = {
    "striped": ("with stripes",),
    "dotted": ("with dots", "with spots"),
    "checkered": ("with checks",),
}
SIZE_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "small": ("small", "small", "tiny", "little"),
    "medium": ("medium", "medium sized"),
    "large": ("large", "big", "big", "huge"),
}
PLACE_PHRASES: Final[dict[str, tuple[str, ...]]] = {
    "center": ("in the center", "in the middle", "at the center", "centered"),
    "left": ("on the left", "at the left", "on the left side"),
    "right": ("on the right", "at the right", "on the right side"),
    "top": ("at the top", "on the top", "near the top"),
    "bottom": ("at the bottom", "on the bottom", "near the bottom"),
    "top left": ("in the top left", "in the top left corner", "in the upper left corner"),
    "top right": ("in the top right", "in the top right corner", "in the upper right corner"),
    "bottom left": ("in the bottom left", "in the bottom left corner", "in the lower left corner"),
    "bottom right": (
        "in the bottom right",
        "in the bottom right corner",
        "in the lower right corner",
    ),
}
RELATIONS: Final[dict[str, tuple[str, ...]]] = {
    "left": ("to the left of", "left of"),
    "right": ("to the right of", "right of"),
    "top": ("above", "on top of", "over"),
    "bottom": ("below", "under", "beneath"),
}
OPENINGS: Final = ("a picture of ", "an image of ", "a drawing of ", "a painting of ", "draw ")
PRAISE: Final = ("high quality", "detailed", "beautiful", "4k", "minimal", "colorful", "sharp")
STRAY: Final = [
    "happy",
    "forest",
    "city",
    "cat",
    "my",
    "very",
    "shiny",
    "flying",
    "old",
    "new",
    "digital",
    "render",
    "sunny",
    "house",
    "strange",
    "magic",
    "glass",
    "soft",
    "vivid",
    "poster",
    "of",
    "lol",
    "please",
    "make",
    "me",
    "show",
    "style",
    "cartoon",
    "logo",
    "dog",
    "mountain",
    "photo",
    "robot",
]

Mentions = dict[str, str]
"""What a caption says of one thing: attribute -> value, without the attributes it leaves out."""


@dataclass(frozen=True, slots=True)
class OpenShares:
    """Shares of captions that name one or two attributes: what they leave open, the seed decides.

    Most are of plain scenes, because a caption that names no texture means plain.
    """

    plain: float = 0.4
    patterned: float = 0.05


USUAL_SHARES: Final = OpenShares()
"""15% of all captions."""
OPEN_ATTRIBUTES: Final = ("", "colour", "place", "size", "background")


@dataclass(frozen=True, slots=True)
class Named:
    """What a caption names beside shapes and textures: `colour` and `size` apart for each thing."""

    adjectives: list[set[str]]
    place: bool
    background: bool


def with_article(phrase: str) -> str:
    """Put `a` or `an` before a phrase."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def exact_caption(scene: Scene) -> str:
    """Return the one caption that names every attribute of the scene."""
    phrases = []
    for thing in scene.things:
        words = [thing.colour, thing.shape]
        if thing.texture != "plain":
            words.insert(0, thing.texture)
        if len(scene.things) == 1 and thing.size != "medium":
            words.insert(0, thing.size)
        place = PLACE_PHRASES[thing.place][0]
        phrases.append(f"{with_article(' '.join(words))} {place}")
    return f"{' and '.join(phrases)} on {with_article(scene.background)} background"


def random_caption(
    scene: Scene, rng: random.Random, shares: OpenShares = USUAL_SHARES
) -> tuple[str, list[Mentions], str | None]:
    """Describe a scene in one of many ways; some leave almost everything open.

    Returns:
        The caption, what it says of each thing in the order named, and the background it names.
    """
    things = list(scene.things)
    rng.shuffle(things)
    is_plain = all(thing.texture == "plain" for thing in things)
    is_open = rng.random() < (shares.plain if is_plain else shares.patterned)
    named = (_open_choice if is_open else _usual_choice)(things, rng)
    mentions: list[Mentions] = [{} for _ in things]
    has_article = rng.random() < 0.85
    nouns = [
        _noun_phrase(thing, rng, said, adjectives, has_article=has_article)
        for thing, said, adjectives in zip(things, mentions, named.adjectives, strict=True)
    ]
    place = _place_one if len(things) == 1 else _place_two
    text = place(things, nouns, rng, mentions) if named.place else _without_place(nouns, rng)
    if named.background:
        text += (", " if rng.random() < 0.25 else " ") + _background_phrase(scene.background, rng)
    return _decorate(text, rng), mentions, scene.background if named.background else None


def _usual_choice(things: list[Thing], rng: random.Random) -> Named:
    """Leave little open."""
    adjectives = []
    for thing in things:
        chosen = {"colour"} if rng.random() < 0.97 else set()
        is_special = thing.size != "medium" or rng.random() < 0.15
        if len(things) == 1 and is_special and rng.random() < 0.85:
            chosen.add("size")
        adjectives.append(chosen)
    is_centered = len(things) == 1 and things[0].place == "center"
    has_place = rng.random() < (0.6 if is_centered else 0.9)
    return Named(adjectives, place=has_place, background=rng.random() < 0.88)


def _open_choice(things: list[Thing], rng: random.Random) -> Named:
    """Name the shape and at most one more attribute: a pattern, if there is one.

    A caption of two things names their shapes and patterns.
    """
    is_plain_thing = len(things) == 1 and things[0].texture == "plain"
    also = rng.choice(OPEN_ATTRIBUTES) if is_plain_thing else ""
    return Named([{also} for _ in things], place=also == "place", background=also == "background")


def _noun_phrase(
    thing: Thing, rng: random.Random, said: Mentions, named: set[str], *, has_article: bool
) -> str:
    said["shape"] = thing.shape
    noun = rng.choice(SHAPE_WORDS.get(thing.shape, (thing.shape,)))
    adjectives, suffix = [], ""
    if "colour" in named:
        said["colour"] = thing.colour
        adjectives.append(rng.choice(COLOUR_WORDS.get(thing.colour, (thing.colour,))))
    # A caption without a texture means plain, as people expect.
    said["texture"] = thing.texture
    if thing.texture == "plain":
        if rng.random() < 0.25:
            adjectives.append(rng.choice(TEXTURE_WORDS["plain"]))
    elif rng.random() < 0.8:
        adjectives.append(rng.choice(TEXTURE_WORDS[thing.texture]))
    else:
        suffix = " " + rng.choice(TEXTURE_PHRASES[thing.texture])
    rng.shuffle(adjectives)
    if "size" in named:
        said["size"] = thing.size
        adjectives.insert(0, rng.choice(SIZE_WORDS[thing.size]))
    phrase = " ".join([*adjectives, noun]) + suffix
    return with_article(phrase) if has_article else phrase


def _without_place(nouns: list[str], rng: random.Random) -> str:
    return (
        nouns[0] if len(nouns) == 1 else f" {rng.choice(('and', 'next to', 'with'))} ".join(nouns)
    )


def _place_one(
    things: list[Thing], nouns: list[str], rng: random.Random, mentions: list[Mentions]
) -> str:
    mentions[0]["place"] = things[0].place
    return f"{nouns[0]} {rng.choice(PLACE_PHRASES[things[0].place])}"


def _place_two(
    things: list[Thing], nouns: list[str], rng: random.Random, mentions: list[Mentions]
) -> str:
    for thing, said in zip(things, mentions, strict=True):
        said["place"] = thing.place
    if rng.random() < 1 / 3:
        return f"{nouns[0]} {rng.choice(RELATIONS[things[0].place])} {nouns[1]}"
    first, second = (rng.choice(PLACE_PHRASES[thing.place]) for thing in things)
    return f"{nouns[0]} {first} and {nouns[1]} {second}"


def _background_phrase(background: str, rng: random.Random) -> str:
    colour = rng.choice(COLOUR_WORDS.get(background, (background,)))
    on_it = f"on {with_article(colour)} background"
    others = (
        f"against {with_article(colour)} background",
        f"on {with_article(colour)} backdrop",
        f"with {with_article(colour)} background",
        f"on {colour}",
        f"{colour} background",
    )
    return on_it if rng.random() < 0.5 else rng.choice(others)


def _decorate(text: str, rng: random.Random) -> str:
    """Add words that people write around the content, so that the encoder learns to ignore them."""
    if rng.random() < 0.3:
        text = rng.choice(OPENINGS) + text
    if rng.random() < 0.1:
        text += ", " + ", ".join(rng.sample(PRAISE, rng.choice((1, 1, 2))))
    if rng.random() < 0.1:
        words = text.split(" ")
        for _ in range(rng.choice((1, 1, 2))):
            words.insert(rng.randint(0, len(words)), rng.choice(STRAY))
        text = " ".join(words)
    return text

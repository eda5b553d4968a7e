"""What a filter of words finds, what it does not, and that no text makes it slow."""

# ruff: noqa: RUF001
from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_core import word_filter
from cascade_core.word_filter import WordFilter, is_phrase


def has(phrase: str, text: str) -> bool:
    return WordFilter([phrase]).first_in(text) is not None


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("cat", "a CAT, everywhere"),
        ("two words", "these two, WORDS"),
        ("cat", "cats"),
        ("box", "boxes"),
        ("pony", "two ponies"),
        ("negro", "negroes"),
        ("ass", "asses"),
        ("red cat", "red cats"),
        ("cat", "c-a-t"),
        ("cat", "a c.a.t on a mat"),
        ("cat", "a c a t on a mat"),
        ("cat", "c_a_t"),
        ("cat", "c - a - t"),
        ("red cat", "r e d c a t"),
        ("cat", "c á t s"),
        ("cat", "cát"),
        ("cat", "c\u0430t"),  # Cyrillic a
        ("cat", "\u13df\u13aa\u13a2"),  # Cherokee
        ("cat", "\uabaf\uab7a\uab72"),  # the same in small letters
        ("cat", "\ua4da\ua4ee\ua4d4"),  # Lisu
        ("cat", "\u2ca4\u2c80\u2ca6"),  # Coptic
        ("cat", "\u023ca\u0167"),  # strokes through letters
        ("nude", "\u039dUDE"),  # Greek capital nu
        ("nude", "\u03b7ude"),  # Greek small eta
        ("gore", "g\u0585re"),  # Armenian oh
        ("cat", "ｃａｔ"),
        ("sex cat", "ꜱᴇx ᴄᴀᴛ"),  # small capitals
        ("hell", "he11"),
        ("hell", "heII"),  # two capital i
        ("doll", "d0lI"),
        ("cat", "🅲🅰🆃"),
        ("cat", "c\u200da\u00adt"),
        ("cats", "c\U000e0080at\u2065s"),  # no characters yet, but shown as nothing
        ("cat", "c4t!"),
        ("cat", "||c4ts||"),
        ("cat", "c-4-t"),
        ("ass", "@$$"),
        ("sh1t", "shit"),
        ("shit", "sh!t"),
        ("νερο", "ΝΕΡΌ"),
        ("暴力", "很暴力。"),
        ("🍆", "an 🍆🏿!"),
        ("❤️ 🔥", "❤🔥"),
        ("18", "at 18"),
        ("c++", "a c++ book"),
    ],
)
def test_a_phrase_is_found_however_it_is_written(phrase: str, text: str) -> None:
    assert has(phrase, text)


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("cat", "concatenate"),
        ("cat", "category"),
        ("bras", "a brass band"),
        ("two words", "two other words"),
        ("red cat", "redcat"),
        ("ass", "a S.S. ship"),
        ("ass", "455 km, 4.55 m"),
        ("bob", "an 808 drum machine"),
        ("hell", "he'll"),
        ("ed", "a 3d render of an e d"),
        ("cats", "a cat"),
        ("🍆", "🍅"),
        ("cat", ""),
        ("!", "!!!"),
    ],
)
def test_other_words_are_not_found(phrase: str, text: str) -> None:
    assert not has(phrase, text)


def test_the_first_phrase_of_the_list_is_told() -> None:
    words = WordFilter(["bird", "red cat", "cat", "!"])
    assert words.first_in("a cat, a red cat") == 1
    assert words.first_in("a cat and c-a-t-s") == 2
    assert words.first_in("! a dog !") is None
    assert WordFilter([]).first_in("a cat") is None


def test_a_phrase_needs_something_to_look_for() -> None:
    assert [is_phrase(text) for text in ("cat", "18", "🍆", "! !", "", "\u200b")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]


def holds(text: list[str], phrase: list[str]) -> bool:
    count = len(phrase)
    return any(text[start : start + count] == phrase for start in range(len(text)))


SHORT_WORDS = st.lists(st.sampled_from(["aa", "ab", "ba"]), min_size=1, max_size=4)


@given(
    phrases=st.lists(SHORT_WORDS, max_size=8), text=st.lists(st.sampled_from(["aa", "ab", "ba"]))
)
def test_it_finds_what_a_search_for_each_phrase_would_find(
    phrases: list[list[str]], text: list[str]
) -> None:
    found = [number for number, phrase in enumerate(phrases) if holds(text, phrase)]
    first = WordFilter([" ".join(phrase) for phrase in phrases]).first_in(", ".join(text))
    assert first == min(found, default=None)


def lines_run(action: Callable[[], Any]) -> int:
    """Return how many lines of the module run: a measure of work that no busy machine changes."""
    count = 0

    def on_line(_frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return on_line

    def on_call(frame: FrameType, event: str, arg: Any) -> Any:
        return on_line if frame.f_code.co_filename == word_filter.__file__ else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(
    ("phrase", "unit"),
    [
        ("! ! ! ! ! ! a", "!"),
        ("a a a a a a b", "a "),
        ("aaaaaaab", "a-"),
        ("a", "a\u0301\u0323"),
        ("🍆 🍆 🍆 🍅", "🍆"),
        ("ass", "$@!|"),
        ("a b", "a \t "),
    ],
)
def test_twice_the_text_takes_twice_the_work(phrase: str, unit: str) -> None:
    words = WordFilter([phrase])
    once, twice = (lines_run(lambda n=n: words.first_in(unit * n)) for n in (400, 800))  # type: ignore[misc]
    assert twice <= 2.05 * once


@given(
    phrases=st.lists(st.text("ab! 1$", max_size=30), max_size=20),
    text=st.text("ab! 1$-", max_size=300),
)
def test_work_grows_with_the_text_whatever_the_phrases(phrases: list[str], text: str) -> None:
    words = WordFilter(phrases)
    assert lines_run(lambda: words.first_in(text)) <= 150 + 80 * len(text)


def test_many_phrases_take_no_more_work_than_one() -> None:
    text = "a b " * 200
    few, many = WordFilter(["a b c"]), WordFilter([f"a b c{n}" for n in range(500)])
    assert lines_run(lambda: many.first_in(text)) <= 1.1 * lines_run(lambda: few.first_in(text))

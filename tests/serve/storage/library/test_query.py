"""How searches are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_core.errors import InvalidRequest
from serve.storage.library.query import MAX_QUERY_CHARS, MAX_TERMS, LibraryQuery, Term
from serve.storage.library.words import MAX_WORD_CHARS, words_of


def test_words_phrases_and_exclusions_are_told_apart() -> None:
    query = LibraryQuery.parse('Red "big heart" -Blue -"dark sky" car* "a tre*"')
    assert query.terms == (
        Term(("red",)),
        Term(("big", "heart")),
        Term(("blue",), is_excluded=True),
        Term(("dark", "sky"), is_excluded=True),
        Term(("car",), is_prefix=True),
        Term(("a", "tre")),
    )


def test_filters_name_columns() -> None:
    query = LibraryQuery.parse("kind:vary seed:7 size:1024x768 after:2026-11-01 before:2026-12-01")
    assert dict(query.filters) == {"kind": "vary", "seed": 7, "width": 1024, "height": 768}
    assert (query.after, query.before, query.terms) == ("2026-11-01", "2026-12-01", ())


@pytest.mark.parametrize(
    ("text", "marks", "excluded"),
    [
        ("star:yes", ("#star",), ()),
        ("star:no", (), ("#star",)),
        ("rating:>=3", ("#rating:3",), ()),
        ("rating:3", ("#rating:3",), ("#rating:4",)),
        ("rating:<=2", (), ("#rating:3",)),
        ("rating:0", (), ("#rating:1",)),
        ("rating:5", ("#rating:5",), ()),
        ("tag:Shoe -tag:draft", ("#tag:shoe",), ("#tag:draft",)),
    ],
)
def test_marks_are_words_of_their_own(
    text: str, marks: tuple[str, ...], excluded: tuple[str, ...]
) -> None:
    query = LibraryQuery.parse(f"heart {text}")
    assert (query.terms, query.marks, query.excluded_marks) == (
        (Term(("heart",)),),
        marks,
        excluded,
    )


@pytest.mark.parametrize(
    "text",
    [
        "colour:red",
        "kind:paint",
        "seed:x",
        "seed:-1",
        "size:big",
        "size:1x",
        "before:yesterday",
        "after:",
        "a*",
        "x" * (MAX_QUERY_CHARS + 1),
        "x " * (MAX_TERMS + 1),
        "star:maybe",
        "rating:6",
        "rating:=>3",
        "tag:",
        "tag:" + "x" * 41,
        "tag:x " * (MAX_TERMS + 1),
        "-star:yes",
    ],
)
def test_what_cannot_be_searched_for_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        LibraryQuery.parse(text)
    assert refused.value.field == "q"


@given(st.text(max_size=MAX_QUERY_CHARS))
def test_any_text_is_a_search_or_refused(text: str) -> None:
    try:
        query = LibraryQuery.parse(text)
    except InvalidRequest:
        return
    assert all(term.words for term in query.terms)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A Red-CAR, 512px!", ["a", "red", "car", "512px"]),
        ("Crème brûlée", ["creme", "brulee"]),
        ("straße", ["strasse"]),
        ("snake_case's", ["snake", "case", "s"]),
        ("赤い車", ["赤い車"]),
        ("% _ ' \\ \x00", []),
        ("x" * 100, ["x" * MAX_WORD_CHARS]),
    ],
)
def test_words_are_small_letters_and_digits_without_accents(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@given(st.text())
def test_words_hold_nothing_that_means_something_to_sql(text: str) -> None:
    assert all(word.isalnum() for word in words_of(text))

"""Users' words inside the bot's messages."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.text.markdown import MAX_PROMPT_CHARS, escape, one_line, unescape


@given(st.text(max_size=200))
def test_escaped_words_come_back_as_they_were(words: str) -> None:
    prompt = one_line(words)
    assert unescape(escape(prompt)) == prompt


@given(st.text(max_size=3000))
def test_a_prompt_is_one_printable_line_of_bounded_length(words: str) -> None:
    prompt = one_line(words)
    assert all(char.isprintable() or unicodedata.category(char) == "Cf" for char in prompt)
    assert not set(prompt) & set("\u200b\u200e\u200f\u202e\u2066\ufeff")
    assert prompt == prompt.strip()
    assert len(prompt) <= MAX_PROMPT_CHARS


@pytest.mark.parametrize(
    "words",
    [
        "می\u200cخواهم",  # noqa: RUF001 - Persian: a letter that does not join the next
        "क्\u200dष",  # Hindi: a half letter
        "👩\u200d🚀 ❤\ufe0f 🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
        "\u0600١٢",  # noqa: RUF001
    ],
)
def test_what_scripts_and_emoji_are_put_together_by_reaches_the_model(words: str) -> None:
    assert one_line(f" {words}\u200b\u202e ") == words


@pytest.mark.parametrize(
    "hostile", ["@everyone", "<@123>", "[a](http://x)", "# big", "> quote", "||x||", "<t:1:R>"]
)
def test_nothing_in_a_prompt_formats_or_mentions(hostile: str) -> None:
    assert re.search(r"(?<!\\)[@<\[#>|]", escape(hostile)) is None

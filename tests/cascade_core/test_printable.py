"""What strangers' text may not do to a terminal or a log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_core.printable import lines, one_line

STEERING = [
    *map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, 0x2028, 0x2029)),
    *map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xD800, 0xDFFF)),
]


@pytest.mark.parametrize("character", STEERING, ids=lambda character: f"{ord(character):x}")
def test_what_steers_a_terminal_is_shown_as_an_escape(character: str) -> None:
    shown = f"a\\u{ord(character):04x}b"
    assert one_line(f"a{character}b") == shown
    assert lines(f"a{character}b") == ("a\nb" if character == "\n" else shown)


@pytest.mark.parametrize(
    "text", ["naïve", "עברית", "👩\u200d🎨", "हिन्\u200dदी", "a\u00a0b", "日本"]
)
def test_scripts_and_emoji_stay_as_they_are(text: str) -> None:
    assert one_line(text) == text


@given(st.text())
def test_any_text_is_one_line_that_every_encoding_of_unicode_takes(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1
    one_line(text).encode()
    assert lines(text).count("\n") == text.count("\n")

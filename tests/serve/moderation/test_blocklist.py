"""What a blocklist finds in prompts, and what it does not."""

# ruff: noqa: RUF001
from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cascade_core.errors import SettingsInvalid
from cascade_core.request import GenerationRequest
from serve.checker import Refusal
from serve.moderation.blocklist import Blocklist
from serve.storage.records import JobOwner

ANONYMOUS = JobOwner(None, None)
LATIN = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "blocklist.txt"


def request_of(prompt: str, negative_prompt: str = "") -> GenerationRequest:
    return GenerationRequest(
        prompt=prompt,
        negative_prompt=negative_prompt,
        width=256,
        height=256,
        seed=0,
        decoder_seed=0,
    )


def refusal(path: Path, rules: str, prompt: str) -> Refusal | None:
    path.write_text(rules, encoding="utf-8")
    return Blocklist(path).check_prompt(request_of(prompt), ANONYMOUS)


@pytest.mark.parametrize(
    ("rule", "prompt"),
    [
        ("gore", "much GORE, everywhere"),
        ("red cat", "a Red-\n cat!"),
        ("red cat", "red_cat"),
        ("gore", "g\u200bo\u00adr\u2060e"),
        ("gore", "g\x01ore"),
        ("gore", "ｇｏｒｅ"),
        ("gore", "𝓰𝓸𝓻𝓮"),
        ("gore", "górè"),
        ("gore", "g̴̡o͜r̷e̸"),
        ("gore", "g\u043er\u0435"),  # Cyrillic o and e
        ("gore", "G\u039fRE"),  # Greek capital omicron
        ("gore", "g0r3"),
        ("ass", "an a$$"),
        ("g0re", "gore"),
        ("straße", "STRASSE"),
        ("КРОВЬ", "много крови и кровь"),
        ("血", "充满血的画面"),
        ("暴力", "很暴力。"),
        ("เลือด", "ภาพเลือดมาก"),
        ("18", "at 18"),
        ("red cat", "red cats"),
        ("gore", "g o r e"),
        ("gore", "g-o-r-e"),
    ],
)
def test_a_rule_finds_its_words_however_they_are_written(
    path: Path, rule: str, prompt: str
) -> None:
    assert refusal(path, f"violence: {rule}", prompt) == Refusal("violence", "prompt")


@pytest.mark.parametrize(
    ("rule", "prompt"),
    [
        ("ass", "a class of grass"),
        ("red cat", "red cattle"),
        ("red cat", "a cat in red"),
        ("red cat", "redcat"),
        ("gore", "goore"),
        ("ed", "a 3d render"),
        ("gore", ""),
        ("血", "雪"),
    ],
)
def test_a_rule_finds_no_other_words(path: Path, rule: str, prompt: str) -> None:
    assert refusal(path, rule, prompt) is None


@given(before=LATIN, word=LATIN, after=LATIN, gap=st.sampled_from(" \n,.-_/!\t\u3000"))
def test_a_word_is_found_between_any_others_and_never_inside_one(
    tmp_path_factory: pytest.TempPathFactory, before: str, word: str, after: str, gap: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "blocklist.txt"
    assert refusal(path, word, f"{before}{gap}{word}{gap}{after}") is not None
    inside = refusal(path, word, f"{before}{word}{after}")
    assert inside is None


@given(
    word=st.text(st.characters(categories=("L", "Nd")), min_size=1, max_size=20),
    noise=st.sampled_from("\u200b\u200d\u00ad\ufeff\u0301\u2066\U000e0041\x02"),
    data=st.data(),
)
def test_what_is_not_seen_hides_no_word(
    tmp_path_factory: pytest.TempPathFactory, word: str, noise: str, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "blocklist.txt"
    assume(not set(word) & set("\u115f\u1160\u3164\uffa0"))  # letters that are not seen
    at = data.draw(st.integers(0, len(word)))
    assert refusal(path, word, word[:at] + noise + word[at:]) is not None


def test_rules_are_called_by_their_name_or_by_their_line(path: Path) -> None:
    rules = "\ufeff# what we do not draw\n\ngore\nviolence: blood and gore\n: a:b\n"
    assert len(Blocklist(written(path, rules))) == 3
    assert refusal(path, rules, "gore") == Refusal("line 3")
    assert refusal(path, "violence: blood and gore", "Blood and gore") == Refusal("violence")
    assert refusal(path, rules, "a b") == Refusal("line 5")


def test_the_negative_prompt_is_read_too(path: Path) -> None:
    blocklist = Blocklist(written(path, "gore"))
    found = blocklist.check_prompt(request_of("a cat", "gore"), ANONYMOUS)
    assert found == Refusal("line 1", "negative_prompt")


def test_a_changed_file_counts_from_the_next_request_on(path: Path) -> None:
    blocklist = Blocklist(written(path, "gore"))
    assert blocklist.check_prompt(request_of("a spider"), ANONYMOUS) is None
    new = written(path.with_suffix(".new"), "fear: spider")
    os.replace(new, path)
    assert blocklist.check_prompt(request_of("a spider"), ANONYMOUS) == Refusal("fear")
    assert blocklist.check_prompt(request_of("gore"), ANONYMOUS) is None


def test_a_file_that_became_unreadable_lets_nothing_pass(path: Path) -> None:
    blocklist = Blocklist(written(path, "gore"))
    path.unlink()
    for _ in range(2):
        with pytest.raises(SettingsInvalid, match="cannot be read"):
            blocklist.check_prompt(request_of("a cat"), ANONYMOUS)
    written(path, "gore")
    assert blocklist.check_prompt(request_of("a cat"), ANONYMOUS) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"gore\n!!!", "line 2 has no letter or digit"),
        (b"gore: ", "line 1 has no letter or digit"),
        (b"x" * 65 + b": gore", "line 1: a rule is named by 1 to 64"),
        (b"a\tb: gore", "line 1: a rule is named by 1 to 64"),
        (b"\xff\xfe", "cannot be read as UTF-8"),
    ],
)
def test_a_file_that_holds_no_rules_is_refused_with_the_line(
    path: Path, text: bytes, words: str
) -> None:
    path.write_bytes(text)
    with pytest.raises(SettingsInvalid, match=words):
        Blocklist(path)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path

"""Errors as sentences for people."""

from __future__ import annotations

import re

import pytest

from bot.text.catalog import Texts, Voice
from bot.text.error_messages import FIELDS, SENTENCES, Refusal, is_fault, sentence
from cascade_core.errors import (
    ContentRefused,
    InvalidRequest,
    NotFound,
    NotReady,
    RateLimited,
    all_errors,
)
from cascade_core.request import GenerationRequest


def test_every_error_of_the_service_has_a_sentence(voice: Voice) -> None:
    assert SENTENCES.keys() == all_errors().keys()
    for error_class in all_errors().values():
        error = error_class("the *detail*", "n")
        told = sentence(error, voice, "REF1")
        assert ("`REF1`" in told) == is_fault(error)
        assert "{" not in told


def test_a_refusal_says_why_and_needs_no_reference(voice: Voice) -> None:
    told = sentence(Refusal.because("too_many_steps", count=30), voice, "REF1")
    assert "30" in told
    assert "REF1" not in told


def test_errors_say_when_and_what(voice: Voice) -> None:
    assert "12 s" in sentence(RateLimited("x", None, 12.2), voice, "")
    assert "secret" not in sentence(ValueError("secret"), voice, "R")


def test_what_people_can_mend_is_no_fault_of_ours() -> None:
    for mistake in (InvalidRequest("x", "n"), NotFound("x"), ContentRefused("x"), Refusal("x")):
        assert not is_fault(mistake)
    assert is_fault(NotReady("x"))
    assert is_fault(ValueError("x"))


GOOD = {"prompt": "x", "width": 256, "height": 256, "seed": 0, "decoder_seed": 0}
WRONG = {
    "prompt": "x" * 2001,
    "negative_prompt": "x" * 2001,
    "width": 3000,
    "height": 300,
    "n": 99,
    "seed": -1,
    "steps": 0,
    "guidance_scale": 99.0,
    "decoder_seed": 2**40,
    "decoder_steps": 101,
    "decoder_guidance_scale": -1.0,
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_a_wrong_value_is_told_with_name_and_range_in_the_language(
    texts: Texts, field: str, language: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        GenerationRequest(**GOOD | {field: WRONG[field]})  # type: ignore[arg-type]
    voice = Voice(texts, language)
    told = sentence(caught.value, voice, "R")
    assert told.startswith(voice(f"field.{field}"))
    assert re.search(r"\d", told)
    assert not re.search(r"must|whole|between", told)


def test_an_unknown_complaint_of_the_service_is_no_english_in_another_language(
    texts: Texts,
) -> None:
    german = Voice(texts, "de")
    assert "weird" not in sentence(InvalidRequest("weird", "width"), german, "")
    assert "weird" not in sentence(InvalidRequest("weird", "whatever"), german, "")

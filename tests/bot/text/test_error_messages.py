"""Errors as sentences for people."""

from __future__ import annotations

import re

import pytest

from bot.text.catalog import Catalog, Translator
from bot.text.error_messages import FIELDS, MESSAGE_KEYS, UserError, error_message, is_fault
from cascade_core.errors import (
    ContentRefused,
    InvalidRequest,
    NotFound,
    NotReady,
    RateLimited,
    all_errors,
)
from cascade_core.request import GenerationRequest


def test_every_error_of_the_service_has_a_sentence(translate: Translator) -> None:
    assert MESSAGE_KEYS.keys() == all_errors().keys()
    for error_class in all_errors().values():
        error = error_class("the *detail*", "n")
        told = error_message(error, translate, "REF1")
        assert ("`REF1`" in told) == is_fault(error)
        assert "{" not in told


def test_a_refusal_says_why_and_needs_no_reference(translate: Translator) -> None:
    told = error_message(UserError.because("too_many_steps", count=30), translate, "REF1")
    assert "30" in told
    assert "REF1" not in told


def test_errors_say_when_and_what(translate: Translator) -> None:
    assert "12 s" in error_message(RateLimited("x", None, 12.2), translate, "")
    assert "secret" not in error_message(ValueError("secret"), translate, "R")


def test_what_people_can_mend_is_no_fault_of_ours() -> None:
    for mistake in (InvalidRequest("x", "n"), NotFound("x"), ContentRefused("x"), UserError("x")):
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
    catalog: Catalog, field: str, language: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        GenerationRequest(**GOOD | {field: WRONG[field]})  # type: ignore[arg-type]
    translate = Translator(catalog, language)
    told = error_message(caught.value, translate, "R")
    assert told.startswith(translate(f"field.{field}"))
    assert re.search(r"\d", told)
    assert not re.search(r"must|whole|between", told)


def test_an_unknown_complaint_of_the_service_is_no_english_in_another_language(
    catalog: Catalog,
) -> None:
    german = Translator(catalog, "de")
    assert "weird" not in error_message(InvalidRequest("weird", "width"), german, "")
    assert "weird" not in error_message(InvalidRequest("weird", "whatever"), german, "")

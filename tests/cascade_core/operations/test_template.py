"""Templates of prompts and the values that fill them."""

from __future__ import annotations

import pytest

from cascade_core.errors import InvalidRequest
from cascade_core.operations import template as templates
from cascade_core.operations.template import check_template, fill, variables_of


def test_variables_are_named_once_and_in_the_order_of_the_text() -> None:
    assert variables_of("a { brand colour } {product} on {brand colour}, {{not this}}") == (
        "brand colour",
        "product",
    )


def test_values_replace_their_variables_and_are_not_filled_themselves() -> None:
    values = {"product": "a {mug}", "colour": "rot"}
    assert fill("{{{product}}} in { colour }", values) == "{a {mug}} in rot"


@pytest.mark.parametrize(
    ("template", "place"),
    [("a {mug", "'{' at character 3"), ("a mug}", "'}' at character 6"), ("{}", "'{}'"),
     ("a { }", "'{ }'"), ("{a{b}}", "'{' at character 1")],
)  # fmt: skip
def test_a_lone_brace_is_refused_with_its_place(template: str, place: str) -> None:
    with pytest.raises(InvalidRequest, match="a brace ") as caught:
        check_template(template, [{}])
    assert caught.value.field == "template"
    assert place in caught.value.message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "lacks 'colour'"),
        ({"Colour": "red"}, "lacks 'colour'"),
        ({"colour": "red", "size": "big"}, "has 'size', which template lacks"),
        ({"colour": " "}, "must say what the picture shows"),
        ({"colour": "x" * 2001}, "a prompt of 2001 characters, at most 2000"),
        ({"colour": "\x1b"}, "control characters"),
    ],
)
def test_a_variant_that_makes_no_prompt_is_named(values: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        check_template("{colour}", [{"colour": "red"}, values])
    assert caught.value.field == "variants[1]"


def test_a_template_has_a_variable() -> None:
    with pytest.raises(InvalidRequest, match="must hold a variable") as caught:
        check_template("a {{red}} star", [{}])
    assert caught.value.field == "template"


def test_a_template_is_read_once_for_all_variants() -> None:
    before = templates._read.cache_info().misses
    check_template("{a} of 100", [{"a": str(number)} for number in range(100)])
    assert templates._read.cache_info().misses == before + 1

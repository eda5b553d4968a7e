"""Parameters of other bots inside a prompt."""

from __future__ import annotations

import pytest

from bot.policy.prompt_parameters import check_parameters
from bot.text.catalog import Catalog, Translator
from bot.text.error_messages import UserError, error_message


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("a fox --ar 16:9", UserError.because("parameter", given="--ar", option="aspect")),
        ("a fox —ar 16:9", UserError.because("parameter", given="--ar", option="aspect")),
        ("--no dots", UserError.because("parameter", given="--no", option="negative")),
        ("a fox\n--N 4", UserError.because("parameter", given="--N", option="count")),
        ("a fox --chaos 50", UserError.because("unknown_parameter", given="--chaos")),
        ("a fox –stylize 5", UserError.because("unknown_parameter", given="--stylize")),  # noqa: RUF001
        ("a fox --anything", UserError.because("unknown_parameter", given="--anything")),
        ("a fox — running", None),
        ("a fox —running", None),
        ("a well--known fox -- running", None),
        ("a --> b, --5, x-ar, -ar", None),
    ],
)
def test_a_parameter_in_a_prompt_is_refused_by_name(
    translate: Translator, text: str, refused: UserError | None
) -> None:
    found = None
    try:
        check_parameters(translate, "", text)
    except UserError as error:
        found = error
    assert found == refused


def test_the_option_that_replaces_a_parameter_is_named_in_the_persons_language(
    catalog: Catalog,
) -> None:
    german = Translator(catalog, "de")
    with pytest.raises(UserError) as caught:
        check_parameters(german, "a fox --steps 5")
    assert "`schritte`" in error_message(caught.value, german, "")

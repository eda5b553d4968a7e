"""Parameters of other bots inside a prompt."""

from __future__ import annotations

import pytest

from bot.policy.prompt_parameters import check_parameters
from bot.text.catalog import Texts, Voice
from bot.text.error_messages import Refusal, sentence


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("a fox --ar 16:9", Refusal.because("parameter", given="--ar", option="aspect")),
        ("a fox —ar 16:9", Refusal.because("parameter", given="--ar", option="aspect")),
        ("--no dots", Refusal.because("parameter", given="--no", option="negative")),
        ("a fox\n--N 4", Refusal.because("parameter", given="--N", option="count")),
        ("a fox --chaos 50", Refusal.because("unknown_parameter", given="--chaos")),
        ("a fox –stylize 5", Refusal.because("unknown_parameter", given="--stylize")),  # noqa: RUF001
        ("a fox --anything", Refusal.because("unknown_parameter", given="--anything")),
        ("a fox — running", None),
        ("a fox —running", None),
        ("a well--known fox -- running", None),
        ("a --> b, --5, x-ar, -ar", None),
    ],
)
def test_a_parameter_in_a_prompt_is_refused_by_name(
    voice: Voice, text: str, refused: Refusal | None
) -> None:
    found = None
    try:
        check_parameters(voice, "", text)
    except Refusal as error:
        found = error
    assert found == refused


def test_the_option_that_replaces_a_parameter_is_named_in_the_persons_language(
    texts: Texts,
) -> None:
    german = Voice(texts, "de")
    with pytest.raises(Refusal) as caught:
        check_parameters(german, "a fox --steps 5")
    assert "`schritte`" in sentence(caught.value, german, "")

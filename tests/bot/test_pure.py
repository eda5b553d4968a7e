"""Ids, words, orders, files, addresses: what needs neither Discord nor the service."""

from __future__ import annotations

import re
import time
import unicodedata
from io import BytesIO
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bot.interactions.button_actions import Actions
from bot.jobs.destination import Address, Credit, shown_before
from bot.policy import job_request as orders
from bot.policy.prompt_parameters import check_parameters
from bot.settings import load_settings
from bot.text.catalog import Texts, Voice
from bot.text.error_messages import FIELDS, SENTENCES, Refusal, is_fault, sentence
from bot.text.markdown import MAX_PROMPT_CHARS, escape, one_line, unescape
from bot.views import custom_ids
from bot.views.attachments import MAX_REQUEST_BYTES, fit, fitted, picture_name
from bot.views.custom_ids import CustomId
from cascade_core.errors import (
    ContentRefused,
    InvalidRequest,
    NotFound,
    NotReady,
    RateLimited,
    SettingsInvalid,
    all_errors,
)
from cascade_core.request import GenerationRequest
from tests.bot.conftest import JOB_ID

PLACEHOLDER = re.compile(r"{(\w+)}")


def test_an_id_survives_its_way_through_a_button() -> None:
    for given_id in (CustomId("vary", JOB_ID, "3"), CustomId("cancel", JOB_ID)):
        assert custom_ids.parse(str(given_id)) == given_id
        assert len(str(given_id)) <= 100
    assert CustomId("vary", JOB_ID, "3").index == 3
    assert CustomId("info", JOB_ID).index is None


def test_every_action_of_an_id_can_be_done() -> None:
    nothing: Any = None
    assert set(get_args(custom_ids.Action)) == set(Actions(nothing, nothing, nothing)._handlers)


@pytest.mark.parametrize(
    "text", ["v2:vary:X:0", "v1:unknown:X", "v1:vary", "v1:vary:a b", "v1:vary:X:0:1", ""]
)
def test_an_id_of_another_version_is_not_taken_for_one_of_ours(text: str) -> None:
    assert custom_ids.parse(text) is None
    assert custom_ids.is_ours(text) == text.startswith("v")


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


def test_what_cannot_be_seen_alone_is_no_prompt() -> None:
    with pytest.raises(Refusal):
        orders.check_prompt(" \u200d\u200c ")


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


def test_a_size_that_is_none_formats_nothing_where_it_is_told(voice: Voice) -> None:
    with pytest.raises(Refusal) as caught:
        orders.parse_size("[a](http://x)")
    assert r"\[a\]" in sentence(caught.value, voice, "")


@pytest.mark.parametrize(
    "hostile", ["@everyone", "<@123>", "[a](http://x)", "# big", "> quote", "||x||", "<t:1:R>"]
)
def test_nothing_in_a_prompt_formats_or_mentions(hostile: str) -> None:
    assert re.search(r"(?<!\\)[@<\[#>|]", escape(hostile)) is None


@pytest.mark.parametrize(
    ("prompt", "seeds", "name"),
    [
        ("a large red heart", (7, 7), "large-red-heart_s7"),
        ("A Ünïcode / ..\\x!", (7, 99), "unicode-x_s7_d99"),
        ("猫", (0, 0), "picture_s0"),
        ("the", (1, 1), "the_s1"),
        (
            "one two three four five six seven eight nine",
            (3, 3),
            "one-two-three-four-five-six-seven-eight_s3",
        ),
        ("x" * 99, (3, 3), "x" * 40 + "_s3"),
    ],
)
def test_a_file_is_named_after_what_it_shows(
    prompt: str, seeds: tuple[int, int], name: str
) -> None:
    assert picture_name(prompt, *seeds) == name


def noise_png(side_px: int) -> bytes:
    file = BytesIO()
    Image.effect_noise((side_px, side_px), 100).convert("RGB").save(file, "PNG")
    return file.getvalue()


def test_a_file_that_fits_is_the_original() -> None:
    data = noise_png(64)
    file = fit("a", data, len(data))
    assert (file.name, file.data, file.is_original) == ("a.png", data, True)


@pytest.mark.parametrize("share", [0.5, 0.05])
def test_a_file_that_does_not_fit_becomes_a_webp_that_does(share: float) -> None:
    data = noise_png(600)
    limit = int(len(data) * share)
    file = fit("a", data, limit)
    assert file.name == "a.webp"
    assert not file.is_original
    assert len(file.data) <= limit
    with Image.open(BytesIO(file.data)) as image:
        assert image.format == "WEBP"


async def test_several_files_share_what_one_request_may_hold() -> None:
    data = noise_png(64)
    limit = len(data)
    assert all(file.is_original for file in await fitted([("a", data)] * 4, limit))
    shrunk = await fitted([("a", data)], limit, shrink=1)
    assert not shrunk[0].is_original
    assert MAX_REQUEST_BYTES < 25 * 1024 * 1024


def address(**changes: object) -> Address:
    values: dict[str, object] = {
        "application_id": 1,
        "token": "t" * 200,
        "token_until": time.time() + 900,
        "channel_id": 2**62,
        "message_id": 2**62,
        "user_id": 2**62,
        "guild_id": None,
        "reachable": True,
        "private": False,
        "spoiler": False,
        "preview": True,
        "locale": "de",
        "file_limit_bytes": 10,
        "of": (JOB_ID, 1),
        "credit": Credit("vary", 4, "https://discord.com/channels/1/2/3"),
    }
    return Address(**values | changes)  # type: ignore[arg-type]


def test_an_address_survives_its_way_through_the_service() -> None:
    state = address().to_state()
    assert state["inbox"] == "discord.1"
    assert Address.from_state(state) == address(token_until=state["address"]["token_until"])


def test_an_address_of_an_earlier_version_is_still_one() -> None:
    state = address().to_state()
    del state["address"]["credit"]
    found = Address.from_state(state)
    assert found is not None
    assert found.credit is None


def test_what_a_picture_came_from_is_known_after_its_delivery() -> None:
    shown = shown_before(address(spoiler=True).delivered_state())
    assert (shown.spoiler, shown.of) == (True, (JOB_ID, 1))
    assert shown.credit == Credit("vary", 4, "https://discord.com/channels/1/2/3")


def test_after_delivery_neither_inbox_nor_token_are_left() -> None:
    state = address().delivered_state()
    assert "inbox" not in state
    assert "ttt" not in str(state)
    assert Address.from_state(state) is None


def test_a_private_message_is_out_of_reach_without_its_token() -> None:
    assert address().bot_may_edit
    assert not address(private=True).bot_may_edit
    assert not address(reachable=False).bot_may_edit
    assert address().has_token
    assert not address(token_until=time.time() + 5).has_token


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


def test_every_language_says_everything_with_the_same_values(texts: Texts) -> None:
    assert len(texts.languages) >= 3
    english = texts.keys("en")
    for language in texts.languages:
        told = texts.keys(language).items()  # the commands' English is in the code
        sentences = {key: words for key, words in told if not key.startswith("command.")}
        assert sentences.keys() == english.keys(), language
        for key, words in sentences.items():
            assert set(PLACEHOLDER.findall(words)) == set(PLACEHOLDER.findall(english[key])), key


@pytest.mark.parametrize(
    ("locale", "count", "words"),
    [
        ("en-US", 1, "1 picture at"),
        ("en-US", 2, "2 pictures at"),
        ("en-US", 0, "0 pictures at"),
        ("ja", 1, "1 picture at"),
        ("de", 1, "1 Bild auf"),
        ("de", 0, "0 Bilder auf"),
        ("fr", 0, "0 image à"),
        ("fr", 1, "1 image à"),
        ("fr", 2, "2 images à"),
    ],
)
def test_numbers_have_their_plural_forms(texts: Texts, locale: str, count: int, words: str) -> None:
    assert words in texts.say("refused.too_many_images", locale, count=count)


def test_every_sentence_with_plural_forms_has_both(texts: Texts) -> None:
    for language in texts.languages:
        keys = texts.keys(language)
        forms = {key for key in keys if key.endswith((".one", ".other"))}
        stems = {key.rpartition(".")[0] for key in forms}
        assert forms == {f"{stem}.{form}" for stem in stems for form in ("one", "other")}
        assert not stems & keys.keys()


def test_an_unknown_language_is_answered_in_english(texts: Texts) -> None:
    assert texts.say("button.cancel", "ja") == texts.say("button.cancel", "en-US") == "Cancel"
    assert texts.say("button.cancel", "de") == "Abbrechen"


def test_settings_name_every_wrong_variable_and_hide_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "very-secret")
    monkeypatch.setenv("CASCADE_URL", "localhost:8000")
    monkeypatch.setenv("BOT_HTTP_PORT", "-1")
    with pytest.raises(SettingsInvalid) as caught:
        load_settings()
    assert "CASCADE_URL" in caught.value.message
    assert "BOT_HTTP_PORT" in caught.value.message
    monkeypatch.setenv("CASCADE_URL", "http://localhost:8000/")
    monkeypatch.setenv("BOT_HTTP_PORT", "")
    settings = load_settings()
    assert (settings.url, settings.http_port) == ("http://localhost:8000", 8100)
    assert settings.read_token() == "very-secret"
    assert "very-secret" not in repr(settings)


def test_a_token_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.delenv("DISCORD_TOKEN", raising=False)
    with pytest.raises(SettingsInvalid, match="DISCORD_TOKEN"):
        load_settings().read_token()
    monkeypatch.setenv("DISCORD_TOKEN_FILE", f"{tmp_path}/missing")
    with pytest.raises(SettingsInvalid, match="DISCORD_TOKEN_FILE"):
        load_settings().read_token()

"""Ids, words, orders, files, addresses: what needs neither Discord nor the service."""

from __future__ import annotations

import re
import time
import unicodedata
from dataclasses import replace
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bot import custom_ids, orders
from bot.address import Address
from bot.custom_ids import CustomId
from bot.files import MAX_REQUEST_BYTES, fit, fitted
from bot.markdown import MAX_PROMPT_CHARS, escape, one_line, unescape
from bot.orders import Order
from bot.parameters import check_parameters
from bot.records import ModelInfo
from bot.replies import SENTENCES, Refusal, sentence
from bot.settings import load_settings
from bot.texts import Texts, Voice
from cascade_core.errors import InvalidRequest, RateLimited, SettingsInvalid, all_errors
from tests.bot.conftest import JOB_ID, JobMaker

PLACEHOLDER = re.compile(r"{(\w+)}")
MODEL = ModelInfo("demo", "Apache-2.0", 1024, 1024, 128, 256, 2048, ("a fox",), 20)


def test_an_id_survives_its_way_through_a_button() -> None:
    for given_id in (CustomId("vary", JOB_ID, "3"), CustomId("cancel", JOB_ID)):
        assert custom_ids.parse(str(given_id)) == given_id
        assert len(str(given_id)) <= 100
    assert CustomId("vary", JOB_ID, "3").index == 3
    assert CustomId("info", JOB_ID).index is None


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


def test_every_aspect_is_a_size_that_the_model_can_do() -> None:
    sizes = {aspect: orders.size_of(aspect, MODEL) for aspect in orders.ASPECTS}
    assert sizes["square"] == (1024, 1024)
    assert sizes["landscape"] == sizes["portrait"][::-1]
    assert len(set(sizes.values())) == len(sizes)
    for width, height in sizes.values():
        assert width % 128 == height % 128 == 0
        assert 0.6 < width * height / 1024**2 < 1.5


def test_a_small_model_still_tells_wide_from_square() -> None:
    small = replace(MODEL, width=256, height=256, max_side=384)
    assert orders.size_of("square", small) == (256, 256)
    assert orders.size_of("wide", small) == (384, 256)
    assert orders.size_of("tall", small) == (256, 384)


def test_re_roll_asks_for_the_same_with_another_seed(make_job: JobMaker) -> None:
    body = orders.again(make_job(negative_prompt="text", steps=33), Order()).to_body()
    assert body["kind"] == "generate"
    assert (body["prompt"], body["negative_prompt"]) == ("a red fox", "text")
    assert (body["width"], body["height"], body["steps"]) == (1024, 768, 33)
    assert body["seed"] != 7


def test_vary_starts_from_the_latent_of_the_picture_that_was_meant(make_job: JobMaker) -> None:
    body = orders.vary(make_job(pictures=2), 1, Order()).to_body()
    assert body["kind"] == "vary_details"
    assert body["latent_id"] == "LAT1"
    assert not {"prompt", "width", "seed", "steps"} & body.keys()


def test_varying_a_deleted_picture_is_refused(make_job: JobMaker) -> None:
    job = make_job(pictures=2)
    job = replace(job, images=job.images[:1])
    with pytest.raises(Refusal):
        orders.vary(job, 1, Order())


def test_sizes_and_seeds_are_read_as_people_write_them() -> None:
    assert orders.parse_size(" 1024 X 768 ") == (1024, 768)
    assert orders.parse_size("") is None
    assert orders.parse_seed(" 42 ") == 42
    assert 0 <= orders.parse_seed("") < 2**32
    for wrong in ("big", "1024", "1024x"):
        with pytest.raises(Refusal):
            orders.parse_size(wrong)
    for wrong in ("-1", "x", str(2**32), "²"):
        with pytest.raises(Refusal):
            orders.parse_seed(wrong)


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
    }
    return Address(**values | changes)  # type: ignore[arg-type]


def test_an_address_survives_its_way_through_the_service() -> None:
    state = address().to_state()
    assert state["inbox"] == "discord.1"
    assert Address.from_state(state) == address(token_until=state["address"]["token_until"])


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
        told = sentence(error_class("the *detail*", "n"), voice, "REF1")
        assert "REF1" in told
        assert "{" not in told


def test_a_refusal_says_why_and_needs_no_reference(voice: Voice) -> None:
    told = sentence(Refusal.because("too_many_steps", most=30), voice, "REF1")
    assert "30" in told
    assert "REF1" not in told


def test_errors_say_when_and_what(voice: Voice) -> None:
    assert "12 s" in sentence(RateLimited("x", None, 12.2), voice, "")
    assert "n must be 1" in sentence(InvalidRequest("n must be 1", "n"), voice, "")
    assert "secret" not in sentence(ValueError("secret"), voice, "R")


def test_every_language_says_everything_with_the_same_values(texts: Texts) -> None:
    assert len(texts.languages) >= 3
    english = texts.keys("en")
    for language in texts.languages:
        told = texts.keys(language).items()  # the commands' English is in the code
        sentences = {key: words for key, words in told if not key.startswith("command.")}
        assert sentences.keys() == english.keys(), language
        for key, words in sentences.items():
            assert set(PLACEHOLDER.findall(words)) == set(PLACEHOLDER.findall(english[key])), key


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

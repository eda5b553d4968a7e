"""The judge itself: what does not agree with Discord's document is found."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from tests.wire.fake_discord.oracle import NOTICE, Oracle
from tests.wire.fake_discord.server import FakeDiscord
from tests.wire.fake_discord.sessions import Op
from tests.wire.fake_discord.traffic import Exchange, Frame, Traffic
from tests.wire.raw_api import RawApi

ME = {
    "id": "1",
    "username": "cascade",
    "discriminator": "0",
    "global_name": None,
    "avatar": None,
    "public_flags": 0,
    "flags": 0,
    "primary_guild": None,
    "mfa_enabled": False,
    "locale": "en-US",
}


@pytest.fixture
def judge(oracle: Oracle | None) -> Oracle:
    if oracle is None:
        pytest.skip(NOTICE)
    return oracle


def said(method: str, path: str, json: Any = None, **answer: Any) -> Traffic:
    return Traffic(rest=[Exchange(method, path, 0.0, json=json, **answer)])


def test_what_agrees_is_not_mentioned(judge: Oracle) -> None:
    assert judge.findings(said("GET", "/users/@me", status=200, response=ME)) == []


@pytest.mark.parametrize(
    ("traffic", "finding"),
    [
        (
            said("GET", "/users/@me", status=200, response=ME | {"id": 1}),
            "GET /users/@me: answer 200: id: 1 is not of type 'string'",
        ),
        (
            said("GET", "/users/@me", status=200, response={}),
            "'username' is a required property",
        ),
        (said("GET", "/users/@me", status=302), "status 302 is none of"),
        (said("GET", "/users/@me", status=404, response={"code": 0}), "'message' is a required"),
        (said("GET", "/no/such/thing"), "is no operation of Discord's"),
        (said("PUT", "/users/@me"), "is no operation of Discord's"),
        (
            said("POST", "/channels/1/messages", json={"content": 5}),
            "POST /channels/{channel_id}/messages: request: content: 5 is not of type",
        ),
        (
            said("POST", "/channels/1/messages", json={"components": [{"type": 10}]}),
            "components/0: 'content' is a required property",
        ),
        (
            Traffic(sent=[Frame(0, Op.DISPATCH, {"id": "1"}, "MESSAGE_CREATE")]),
            "MESSAGE_CREATE: ",
        ),
    ],
)
def test_what_does_not_agree_is_found_and_named(
    judge: Oracle, traffic: Traffic, finding: str
) -> None:
    assert any(finding in line for line in judge.findings(traffic))


def test_an_answer_that_a_test_injected_is_not_judged_but_its_request_is(judge: Oracle) -> None:
    wrong: dict[str, Any] = {"json": {"content": 5}, "status": 502, "is_injected": True}
    (finding,) = judge.findings(said("POST", "/channels/1/messages", **wrong))
    assert "request: content" in finding


async def test_an_emulator_that_goes_wrong_is_found_out(judge: Oracle) -> None:
    async with FakeDiscord() as fake, aiohttp.ClientSession() as session:
        api = RawApi(fake, session)
        assert (await api("GET", "/users/@me")).status == 200
        assert judge.findings(fake.traffic) == []
        fake.bot.locale = "Klingon"
        await api("GET", "/users/@me")
    (finding,) = judge.findings(fake.traffic)
    assert "GET /users/@me: answer 200: locale: " in finding

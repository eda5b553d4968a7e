"""A picture's way: submitted in Discord, approved in the studio, exported and signed.

Each is done by another person. With ``CASCADE_RECORDING=FOLDER`` the test leaves there what they
saw.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

from cascade_core.images.image_files import read_marks
from serve.provenance.certificates import make_credentials
from serve.provenance.credentials import CredentialReader
from serve.provenance.picture_signer import PictureSigner
from serve.provenance.signing_key import FileKey
from tests.bot.gateway import Service, running_service
from tests.studio import browser as browsers
from tests.wire.bot.conftest import Stage
from tests.wire.bot_messages import has_button
from tests.wire.fake_discord.messages import Message
from tests.wire.fake_discord.people import Person
from tests.wire.fake_discord.rules.permissions import Permission
from tests.wire.screens import chromium
from tests.wire.screens.page import DESKTOP_PX, Seen, message_html, page

MANAGES = Permission.MANAGE_GUILD | Permission.VIEW_CHANNEL
CREDENTIALS = make_credentials()
READER = CredentialReader(CREDENTIALS.authority_pem)
PROMPT = "a red fox in the snow"


@pytest.fixture
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """The gateway, which signs."""
    monkeypatch.setattr("serve.gateway.auth.key_cache.CACHE_S", 0.0)  # new keys count at once
    async with running_service(tmp_path / "service") as service:
        signer = PictureSigner(FileKey(CREDENTIALS.chain_pem, CREDENTIALS.key_pem))
        service.fake_jobs.signer = service.app.state.services.signer = signer
        yield service


async def submit_in_discord(stage: Stage, boss: Person) -> Message:
    """Ask for a picture and submit it; returns the message that asks for approval."""
    told = await boss.slash(stage.channel, "admin approval", channel=stage.channel)
    await told.reply()
    _, message = await stage.picture(PROMPT)
    menu = await stage.menu(message, "More…")
    await (await stage.alice.click(menu, "Submit")).reply()
    return await boss.sees(stage.channel, lambda m: has_button(m, "approve"))


async def approve_in_studio(url: str, key: str, recording: Path | None) -> None:
    """Approve the only picture that waits, by keyboard."""
    from playwright.async_api import expect

    async with browsers.launched() as browser:
        pages = browsers.Pages(browser)
        shown = await pages.open(f"{url}/studio/review", allows="status of 401")
        await shown.get_by_label("API key").fill(key)
        await shown.keyboard.press("Enter")
        await expect(shown.locator(".review-prompt")).to_have_text(PROMPT)
        if recording is not None:
            await shown.wait_for_load_state("networkidle")
            await shown.screenshot(path=recording / "2-review.png")
        await shown.keyboard.press("a")
        await expect(shown.get_by_text("Nothing waits for a decision.")).to_be_visible()
        await pages.close()
    assert pages.complaints == []


async def export(url: str, key: str) -> ZipFile:
    """Return an archive of all that is approved, in one form and as it is stored."""
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        listed = (await client.get("/v1/assets", params={"state": "approved"})).json()
        ids = [one["id"] for one in listed["assets"]]
        body = {"ids": ids, "presets": ["story"], "originals": True}
        answer = await client.post("/v1/exports", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return ZipFile(BytesIO(answer.content))


@pytest.mark.usefixtures("bot")
async def test_from_a_request_in_discord_to_a_signed_export(stage: Stage) -> None:
    if reason := browsers.missing():
        pytest.skip(reason)
    folder = os.environ.get("CASCADE_RECORDING")
    recording = Path(folder) if folder else None
    url, keys = stage.service.url, stage.service.database.keys
    boss = stage.fake.person("boss", stage.channel.guild, MANAGES)
    asked = await submit_in_discord(stage, boss)
    draw(asked, stage, recording, "1-submitted.png")

    _, studio_key = keys.create("bea", ["read", "review"])
    await approve_in_studio(url, studio_key, recording)
    told = await (await boss.click(asked, "Approve")).reply(lambda m: m.receiver == boss.user)
    assert "decided on meanwhile" in told.text
    await stage.fake.wait_for(lambda: "by bea" in asked.text)
    draw(asked, stage, recording, "3-approved.png")

    _, reader_key = keys.create("carl", ["read"])
    archive = await export(url, reader_key)
    files = json.loads(archive.read("manifest.json"))["files"]
    assert [one["preset"] for one in files] == ["original", "story"]
    for one in files:
        data = archive.read(one["file"])
        found = READER.read(data, f"image/{read_marks(data).image_format}")
        assert (found.state, found.codes) == ("trusted", ())
        expected = {"prompt": PROMPT, "state": "approved", "credentials": "signed"}
        assert expected.items() <= one.items()
        assert one["submitted_by"] == {"key": "bot", "user": f"discord:{stage.alice.user.id}"}
        assert one["approved_by"] == {"key": "bea", "user": None}
    if recording is not None:
        archive.extractall(recording / "4-export")


def draw(message: Message, stage: Stage, recording: Path | None, name: str) -> None:
    """Draw a message as Discord shows it."""
    if recording is None:
        return
    users = {stage.alice.user.id: stage.alice.user.name}
    shown = Seen(message.json("", 0)["components"], message.files, 1000.0, users=users)
    drawn = chromium.draw(page([message_html(shown)]), DESKTOP_PX, 1600)
    chromium.trimmed(drawn).save(recording / name)

"""The application's REST calls as they are, for what discord.py itself would never send."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.wire.fake_discord.interactions import Callback, Interaction
from tests.wire.fake_discord.server import FakeDiscord


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: Any

    @property
    def problem(self) -> tuple[int, int]:
        """Status and code of an error."""
        return self.status, self.body["code"]


@dataclass(frozen=True)
class RawApi:
    """Sends requests with the application's token."""

    fake: FakeDiscord
    session: aiohttp.ClientSession

    async def __call__(
        self, method: str, path: str, payload: Any = None, files: Sequence[bytes] = ()
    ) -> Answer:
        """Send a request; files are named ``0.png``, ``1.png`` and so on."""
        headers = {"Authorization": f"Bot {self.fake.token}"}
        sent: dict[str, Any] = {} if payload is None else {"json": payload}
        if files:
            form = aiohttp.FormData(quote_fields=False)
            form.add_field("payload_json", json.dumps(payload or {}))
            for index, content in enumerate(files):
                form.add_field(f"files[{index}]", content, filename=f"{index}.png")
            sent = {"data": form}
        url = self.fake.api_url + path
        async with self.session.request(method, url, headers=headers, **sent) as response:
            text = await response.text()
            return Answer(response.status, json.loads(text) if text else None)

    async def sync(self, *names: str, **more: Any) -> None:
        """Sync slash commands without options."""
        commands = [{"name": name, "description": name, **more} for name in names]
        answer = await self("PUT", f"/applications/{self.fake.bot.id}/commands", commands)
        assert answer.status == 200

    async def answer(
        self, call: Interaction, kind: Callback, data: Any = None, files: Sequence[bytes] = ()
    ) -> Answer:
        """Send the first answer to an interaction."""
        payload = {"type": int(kind)} | ({} if data is None else {"data": data})
        return await self("POST", f"/interactions/{call.id}/{call.token}/callback", payload, files)

    async def follow_up(
        self, call: Interaction, payload: Any, files: Sequence[bytes] = ()
    ) -> Answer:
        """Send a further answer."""
        return await self("POST", f"/webhooks/{self.fake.bot.id}/{call.token}", payload, files)

    async def edit(
        self,
        call: Interaction,
        payload: Any,
        files: Sequence[bytes] = (),
        message: str = "@original",
    ) -> Answer:
        """Edit an answer."""
        path = f"/webhooks/{self.fake.bot.id}/{call.token}/messages/{message}"
        return await self("PATCH", path, payload, files)

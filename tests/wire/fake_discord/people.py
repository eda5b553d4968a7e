"""People: what they do in Discord's client, and what they see there."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.limits import HANG_S
from tests.wire.fake_discord import modals
from tests.wire.fake_discord.errors import ClientRefusesError
from tests.wire.fake_discord.interactions import Interaction, Kind, owners_of
from tests.wire.fake_discord.messages import Json, Message, Upload
from tests.wire.fake_discord.rules import client_side
from tests.wire.fake_discord.rules.permissions import Permission
from tests.wire.fake_discord.rules.writing import Draft
from tests.wire.fake_discord.world import Channel, Role, User

if TYPE_CHECKING:
    from tests.wire.fake_discord.server import FakeDiscord

_SLASH, _MESSAGE_MENU = 1, 3
_BUTTON = 2


class Person:
    """A person with Discord's client; it refuses what the real one would not send.

    Every deed raises ClientRefusesError where the client would not let a person do it, and
    returns at once; the interaction it returns can be asked or waited for its outcome.
    """

    def __init__(self, fake: FakeDiscord, user: User) -> None:
        self._fake = fake
        self.user = user

    # What they see.

    def messages(self, channel: Channel) -> list[Message]:
        """Return the messages that this person sees in a channel now, oldest first."""
        if not channel.may(self.user, Permission.VIEW_CHANNEL):
            return []
        here = self._fake.messages.of_channel(channel)
        return [m for m in here if m.receiver in (None, self.user)]

    async def sees(
        self, channel: Channel, predicate: Callable[[Message], Any], timeout_s: float = HANG_S
    ) -> Message:
        """Wait until a message that meets a predicate is seen in a channel; the newest counts."""

        def find() -> Message | None:
            seen = reversed(self.messages(channel))
            return next((m for m in seen if predicate(m)), None)

        found = await self._fake.wait_for(find, timeout_s)
        assert found is not None
        return found

    def commands(self, channel: Channel) -> dict[str, str]:
        """Return the commands that the client offers, name to description, in their language."""
        return client_side.offered(self._fake, self.user, channel)

    # What they do.

    async def slash(self, channel: Channel, name: str, /, **options: Any) -> Interaction:
        """Run a slash command; ``name`` has its subcommands behind it, apart by spaces."""
        return await self._command(Kind.COMMAND, channel, name, options, None)

    async def autocomplete(
        self, channel: Channel, name: str, focused: str, /, **options: Any
    ) -> Interaction:
        """Type into an option of a slash command; ``focused`` is the option's name."""
        return await self._command(Kind.AUTOCOMPLETE, channel, name, options, focused)

    async def click(self, message: Message, button: str) -> Interaction:
        """Click a button by its label or custom id."""
        self._check_sees(message)
        found = message.buttons.get(button) or message.component(button)
        if found is None or found["type"] != _BUTTON or "custom_id" not in found:
            have = list(message.buttons)
            raise ClientRefusesError(f"there is no button {button!r} (there are: {have})")
        return await self._use(message, found, {})

    async def select(self, message: Message, custom_id: str, *values: str) -> Interaction:
        """Choose from a menu in a message."""
        self._check_sees(message)
        found = message.component(custom_id)
        if found is None:
            raise ClientRefusesError(f"there is no menu {custom_id!r}")
        options = [option["value"] for option in found.get("options") or []]
        if unknown := set(values) - set(options):
            raise ClientRefusesError(f"the menu has no {sorted(unknown)} (it has: {options})")
        return await self._use(message, found, {"values": list(values)})

    async def menu(self, message: Message, name: str) -> Interaction:
        """Use a message's context menu."""
        self._check_sees(message)
        fake, channel = self._fake, message.channel
        command = client_side.find_command(fake, self.user, channel, _MESSAGE_MENU, name)
        resolved = {"messages": {message.id: fake.messages.json(message)}}
        data = _data(command, target_id=message.id, resolved=resolved)
        return await self._interact(Kind.COMMAND, channel, data)

    async def submit(self, shown: Interaction, **values: Any) -> Interaction:
        """Submit the modal that an interaction opened.

        What it was prefilled with stays, except for ``values`` by custom id (or by label, with
        underscores for spaces). Texts are strings, menus lists of strings.
        """
        assert shown.modal is not None, "the interaction opened no modal"
        filled = modals.fill(shown.modal, values)
        data = {"custom_id": shown.modal["custom_id"], "components": filled, "resolved": {}}
        return await self._interact(
            Kind.MODAL, shown.channel, data, source=shown.source, trigger=shown
        )

    async def delete(self, message: Message) -> None:
        """Delete a message: one's own, with the right to, or one that only oneself sees."""
        self._check_sees(message)
        is_own = self.user in (message.author, message.receiver)
        if not is_own and not message.channel.may(self.user, Permission.MANAGE_MESSAGES):
            raise ClientRefusesError(f"{self.user.name} may not delete this message")
        await self._fake.messages.delete(message)

    async def say(self, channel: Channel, text: str, *uploads: Upload) -> Message:
        """Write a message, with files or without."""
        if not channel.may(self.user, Permission.SEND_MESSAGES):
            raise ClientRefusesError(f"{self.user.name} may not write in #{channel.name}")
        message = self._fake.messages.new(channel, self.user)
        draft = Draft({"content": text}, dict(enumerate(uploads)))
        await self._fake.messages.write(message, draft, is_new=True)
        return message

    # How it is sent.

    def _check_sees(self, message: Message) -> None:
        if message not in self.messages(message.channel):
            raise ClientRefusesError(f"{self.user.name} does not see this message")

    async def _command(
        self,
        kind: Kind,
        channel: Channel,
        name: str,
        values: dict[str, Any],
        focused: str | None,
    ) -> Interaction:
        head, *rest = name.split()
        command = client_side.find_command(self._fake, self.user, channel, _SLASH, head)
        specs, way = client_side.subcommand(command, rest)
        client_side.check_options(specs, values, is_typing=focused is not None)
        resolved: Json = {}
        options = [
            self._option(spec, values[spec["name"]], channel, resolved, focused)
            for spec in specs
            if spec["name"] in values
        ]
        for spec in reversed(way):
            options = [{"name": spec["name"], "type": spec["type"], "options": options}]
        return await self._interact(
            kind, channel, _data(command, options=options, resolved=resolved)
        )

    def _option(
        self, spec: Json, value: Any, channel: Channel, resolved: Json, focused: str | None
    ) -> Json:
        if isinstance(value, Upload):
            attachment = self._fake.messages.option_json(channel, value)
            resolved.setdefault("attachments", {})[attachment["id"]] = attachment
            value = attachment["id"]
        if isinstance(value, Channel):
            permissions = str(value.permissions_of(self.user))
            known = value.json() | {"permissions": permissions}
            resolved.setdefault("channels", {})[value.id] = known
            value = value.id
        if isinstance(value, Role):
            resolved.setdefault("roles", {})[value.id] = value.json()
            value = value.id
        if isinstance(value, Person):
            resolved.setdefault("users", {})[value.user.id] = value.user.json()
            value = value.user.id
        option = {"name": spec["name"], "type": spec["type"], "value": value}
        return option | ({"focused": True} if spec["name"] == focused else {})

    async def _use(self, message: Message, component: Json, more: Json) -> Interaction:
        if component.get("disabled"):
            raise ClientRefusesError("it is disabled")
        used = {
            "component_type": component["type"],
            "custom_id": component["custom_id"],
            "id": component["id"],
        }
        return await self._interact(Kind.COMPONENT, message.channel, used | more, source=message)

    async def _interact(
        self,
        kind: Kind,
        channel: Channel,
        data: Json,
        source: Message | None = None,
        trigger: Interaction | None = None,
    ) -> Interaction:
        fake, age_s = self._fake, self._fake.rules.token_age_s
        delivered_s = fake.clock.now_s()
        interaction = Interaction(
            fake,
            fake.snowflakes.new(age_s),
            secrets.token_urlsafe(48),
            kind,
            self.user,
            channel,
            data,
            self._owners(channel, source),
            born_s=delivered_s - age_s,
            delivered_s=delivered_s,
            source=source,
            trigger=trigger,
        )
        fake.interactions[interaction.token] = interaction
        await fake.gateway.dispatch("INTERACTION_CREATE", interaction.json(), channel.guild_id)
        return interaction

    def _owners(self, channel: Channel, source: Message | None) -> dict[str, str]:
        if source is not None and source.source is not None:
            return source.source.owners  # a component acts for the installation it came from
        return owners_of(self.user, channel, self._fake.bot)


def _data(command: Json, **more: Any) -> Json:
    found = {"id": command["id"], "name": command["name"], "type": command["type"], **more}
    return found | ({"guild_id": command["guild_id"]} if "guild_id" in command else {})

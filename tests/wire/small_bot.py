"""A small bot that uses of discord.py what the emulator has to stand; run in process or alone."""

from __future__ import annotations

import io
import os
import re
from typing import Any, Self

import discord
from discord import app_commands
from discord.ext import commands
from PIL import Image

Interaction = discord.Interaction[Any]


def picture(color: str = "red") -> bytes:
    """Return a small PNG."""
    target = io.BytesIO()
    Image.new("RGB", (8, 6), color).save(target, "PNG")
    return target.getvalue()


def file(color: str = "red", name: str = "picture.png") -> discord.File:
    """Return a small PNG on its way."""
    return discord.File(io.BytesIO(picture(color)), name)


class Vary(discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"v1:vary:(?P<count>\d+)"):
    """Changes its message; works after a restart too."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(discord.ui.Button(label="Vary", custom_id=f"v1:vary:{count}"))

    @classmethod
    async def from_custom_id(
        cls, interaction: Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        return cls(int(match["count"]))

    async def callback(self, interaction: Interaction) -> None:
        count = self.count + 1
        layout = picture_layout(f"varied {count} times", count)
        await interaction.response.edit_message(view=layout, attachments=[file("blue")])


class Edit(discord.ui.DynamicItem[discord.ui.Button[Any]], template="v1:edit"):
    """Opens a modal."""

    def __init__(self) -> None:
        super().__init__(discord.ui.Button(label="Edit", custom_id="v1:edit"))

    @classmethod
    async def from_custom_id(
        cls, interaction: Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        return cls()

    async def callback(self, interaction: Interaction) -> None:
        await interaction.response.send_modal(PromptModal())


class PromptModal(discord.ui.Modal, title="Edit prompt"):
    """Asks for a prompt and a size."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [
            discord.SelectOption(label="Square", value="square", default=True),
            discord.SelectOption(label="Wide", value="wide"),
        ]
        self.prompt: discord.ui.TextInput[Any]
        self.prompt = discord.ui.TextInput(default="a cat", max_length=100)
        self.size: discord.ui.Select[Any] = discord.ui.Select(options=sizes)
        self.add_item(discord.ui.Label(text="New prompt", component=self.prompt))
        self.add_item(discord.ui.Label(text="Size", component=self.size))

    async def on_submit(self, interaction: Interaction) -> None:
        told = f"{self.prompt.value}, {self.size.values[0]}"
        await interaction.response.send_message(told, ephemeral=True)


def picture_layout(text: str, count: int = 0) -> discord.ui.LayoutView:
    """Return a text, the picture attached as ``picture.png``, and buttons."""
    view = discord.ui.LayoutView(timeout=None)
    gallery: discord.ui.MediaGallery[Any] = discord.ui.MediaGallery(
        discord.MediaGalleryItem("attachment://picture.png", description="a picture")
    )
    buttons: discord.ui.ActionRow[Any] = discord.ui.ActionRow(Vary(count), Edit())
    view.add_item(discord.ui.Container(discord.ui.TextDisplay(text), gallery, buttons))
    return view


class SmallBot(commands.AutoShardedBot):
    """Syncs its commands at start; shards and sessions start without discord.py's five seconds."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            commands.when_mentioned,
            intents=options.pop("intents", discord.Intents.none()),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=True),
            allowed_contexts=app_commands.AppCommandContext(
                guild=True, dm_channel=True, private_channel=True
            ),
            **options,
        )
        self.add_dynamic_items(Vary, Edit)
        for command in _COMMANDS:
            self.tree.add_command(command)

    async def setup_hook(self) -> None:
        await self.tree.sync()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Wait for nothing."""


@app_commands.command(description="Draw a picture")
async def draw(
    interaction: Interaction,
    prompt: app_commands.Range[str, 1, 50],
    steps: app_commands.Range[int, 1, 50] = 20,
    style: str = "none",
    start: discord.Attachment | None = None,
) -> None:
    """Defer, show a preview, then the picture."""
    await interaction.response.defer(thinking=True)
    preview = picture_layout("step 1")
    await interaction.edit_original_response(view=preview, attachments=[file("gray")])
    told = f"{prompt}, {steps} steps, {style}"
    if start is not None:
        told += f", from {len(await start.read())} bytes"
    done = picture_layout(told)
    await interaction.edit_original_response(view=done, attachments=[file()])


@draw.autocomplete("style")
async def complete_style(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
    """Offer the styles that begin so."""
    names = ("anime", "photo", "pixel")
    return [app_commands.Choice(name=n, value=n) for n in names if n.startswith(current)]


@app_commands.command(description="Answer for one pair of eyes")
async def whisper(interaction: Interaction) -> None:
    """Answer with the languages spoken here."""
    languages = f"{interaction.locale} in {interaction.guild_locale}"
    await interaction.response.send_message(languages, ephemeral=True)


@app_commands.command(description="Age-restricted", nsfw=True)
async def adult(interaction: Interaction) -> None:
    """Answer where that is allowed."""
    await interaction.response.send_message("for adults")


limits = app_commands.Group(
    name="limits",
    description="Limits",
    allowed_contexts=app_commands.AppCommandContext(
        guild=True, dm_channel=False, private_channel=False
    ),
    default_permissions=discord.Permissions(manage_guild=True),
)


@limits.command(description="Set a limit")
async def put(interaction: Interaction, count: int) -> None:
    """Say what was set."""
    await interaction.response.send_message(f"limit {count}")


@app_commands.context_menu(name="Picture info")
async def info(interaction: Interaction, message: discord.Message) -> None:
    """Tell of a message's files."""
    names = ", ".join(attachment.filename for attachment in message.attachments)
    await interaction.response.send_message(f"{names} by {message.author}", ephemeral=True)


_COMMANDS: tuple[Any, ...] = (draw, whisper, adult, limits, info)

if __name__ == "__main__":
    SmallBot().run(os.environ["DISCORD_TOKEN"])

"""*Submit*, decisions in the approval channel, and ``/approved``."""

from __future__ import annotations

import hashlib

import pytest

from serve.storage.assets.asset import Actor
from serve.storage.library.actions import tagging
from serve.storage.lineage import Viewpoint
from serve.storage.schema.asset_states import ACTIONS, ActionName
from tests.wire.bot.conftest import Stage
from tests.wire.bot_messages import has_button, opened_form
from tests.wire.fake_discord.messages import Message
from tests.wire.fake_discord.people import Person
from tests.wire.fake_discord.rules.permissions import Permission
from tests.wire.fake_discord.world import Channel, Role

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("bot")]

MANAGES = Permission.MANAGE_GUILD | Permission.VIEW_CHANNEL


async def approving(stage: Stage) -> tuple[Channel, Person]:
    """Give the server an approval channel and a role; returns the channel and a member with it."""
    guild = stage.channel.guild
    assert guild is not None
    channel = stage.fake.channel(guild, "approvals")
    boss = stage.fake.person("boss", guild, MANAGES)
    bea = stage.fake.person("bea", guild, Permission.VIEW_CHANNEL)
    role = role_of(stage, bea)
    told = await (
        await boss.slash(stage.channel, "admin approval", channel=channel, role=role)
    ).reply()
    assert f"<#{channel.id}>" in told.text
    assert f"<@&{role.id}>" in told.text
    return channel, bea


def role_of(stage: Stage, person: Person) -> Role:
    guild = stage.channel.guild
    assert guild is not None
    return guild.roles[guild.members[person.user.id].role_ids[0]]


async def submitted(stage: Stage, message: Message) -> str:
    """Submit a picture; returns what its person is told."""
    menu = await stage.menu(message, "More…")
    return (await (await stage.alice.click(menu, "Submit")).reply()).text


async def waiting(stage: Stage, person: Person, channel: Channel) -> tuple[str, Message]:
    """Make a picture and submit it; returns its job's id and the message that asks for approval."""
    job_id, message = await stage.picture()
    assert f"<#{channel.id}>" in await submitted(stage, message)
    return job_id, await person.sees(channel, lambda m: has_button(m, "approve"))


def state_of(stage: Stage, job_id: str) -> str:
    (image,) = stage.service.fake_jobs.images(job_id)
    return stage.service.database.assets.state(image.id)


async def sha256_of(stage: Stage, job_id: str) -> str:
    return hashlib.sha256(await stage.bytes_of(job_id)).hexdigest()


async def told_directly(stage: Stage, word: str) -> Message:
    return await stage.alice.sees(stage.fake.dm(stage.alice), lambda m: word in m.text)


async def test_a_picture_is_submitted_approved_by_another_person_and_shown_to_the_server(
    stage: Stage,
) -> None:
    channel, bea = await approving(stage)
    job_id, asked = await waiting(stage, bea, channel)
    assert list(asked.files.values()) == [await stage.bytes_of(job_id)]
    assert f"<@{stage.alice.user.id}> asks for approval" in asked.text
    await bea.click(asked, "Approve")
    await stage.fake.wait_for(lambda: "Approved" in asked.text)
    assert state_of(stage, job_id) == "approved"
    assert f"by <@{bea.user.id}>" in asked.text
    assert not has_button(asked, "approve")
    assert asked.files
    await told_directly(stage, "approved")
    shown = await (await stage.alice.slash(stage.channel, "approved")).reply()
    assert f"by <@{stage.alice.user.id}>, approved by <@{bea.user.id}>" in shown.text
    assert len(shown.files) == 1


async def test_nobody_approves_a_picture_of_their_own(stage: Stage) -> None:
    channel, bea = await approving(stage)
    stage.alice = bea
    job_id, asked = await waiting(stage, bea, channel)
    told = await (await bea.click(asked, "Approve")).reply(lambda m: m.receiver == bea.user)
    assert "another person" in told.text.lower()
    assert state_of(stage, job_id) == "submitted"
    assert has_button(asked, "approve")


async def test_a_rejection_says_why_and_the_picture_can_be_submitted_again(stage: Stage) -> None:
    channel, bea = await approving(stage)
    job_id, message = await stage.picture()
    await submitted(stage, message)
    asked = await bea.sees(channel, lambda m: has_button(m, "reject"))
    opened = await opened_form(lambda: bea.click(asked, "Reject…"))
    await bea.submit(opened, reason="The sun is\nmissing")
    await stage.fake.wait_for(lambda: "Not approved" in asked.text)
    assert "The sun is missing" in asked.text
    assert state_of(stage, job_id) == "rejected"
    assert "The sun is missing" in (await told_directly(stage, "not approved")).text
    await submitted(stage, message)
    again = await bea.sees(channel, lambda m: has_button(m, "reject"))
    assert again is not asked
    assert "waits for approval already" in await submitted(stage, message)


async def test_members_without_the_role_are_told_that_they_do_not_decide(stage: Stage) -> None:
    channel, bea = await approving(stage)
    job_id, asked = await waiting(stage, bea, channel)
    cem = stage.fake.person("cem", stage.channel.guild)
    for label in ("Approve", "Reject…"):
        told = await (await cem.click(asked, label)).reply(lambda m: m.receiver == cem.user)
        assert f"<@&{role_of(stage, bea).id}>" in told.text
    assert state_of(stage, job_id) == "submitted"


async def test_what_was_decided_elsewhere_meanwhile_is_shown(stage: Stage) -> None:
    channel, bea = await approving(stage)
    job_id, asked = await waiting(stage, bea, channel)
    (image,) = stage.service.fake_jobs.images(job_id)
    by, sha256 = Actor("key", "studio"), await sha256_of(stage, job_id)
    stage.service.database.assets.change(
        image.id, ACTIONS["reject"], by, sha256=sha256, note="too dark"
    )
    told = await (await bea.click(asked, "Approve")).reply(lambda m: m.receiver == bea.user)
    assert "decided on meanwhile" in told.text
    await stage.fake.wait_for(lambda: "too dark" in asked.text)
    assert not has_button(asked, "approve")


async def test_without_a_channel_nothing_is_submitted(stage: Stage) -> None:
    job_id, message = await stage.picture()
    assert not has_button(await stage.menu(message, "More…"), "submit")
    shown = await (await stage.alice.slash(stage.channel, "approved")).reply()
    assert "No picture of this server is approved yet." in shown.text
    boss = stage.fake.person("boss", stage.channel.guild, MANAGES)
    hidden = stage.fake.channel(stage.fake.guild(has_bot=False), "elsewhere")
    await (await boss.slash(stage.channel, "admin approval", channel=hidden)).reply()
    assert "I cannot write in" in await submitted(stage, message)
    assert state_of(stage, job_id) == "draft"


async def test_approved_pictures_are_paged(stage: Stage) -> None:
    database, guild = stage.service.database, stage.channel.guild
    assert guild is not None
    for count in (4, 1):
        job_id, _ = await stage.picture(count=count)
        for image in stage.service.fake_jobs.images(job_id):
            data = await stage.service.fake_jobs.blobs.get(f"images/{image.id}.png")
            sha256 = hashlib.sha256(data).hexdigest()
            steps: tuple[ActionName, ...] = ("submit", "approve")
            for name in steps:
                by = Actor(f"key-{name}", name)
                database.assets.change(image.id, ACTIONS[name], by, sha256=sha256)
            tag = tagging(f"discord-{guild.id}")
            database.pictures.change(Viewpoint(None, None), [image.id], tag)
    shown = await (await stage.alice.slash(stage.channel, "approved")).reply()
    assert len(shown.files) == 4
    await stage.alice.click(shown, "Older")
    await stage.fake.wait_for(lambda: len(shown.files) == 1)
    assert "Older" not in shown.buttons


async def test_pictures_of_other_servers_are_not_shown(stage: Stage) -> None:
    channel, bea = await approving(stage)
    _, asked = await waiting(stage, bea, channel)
    await bea.click(asked, "Approve")
    await stage.fake.wait_for(lambda: "Approved" in asked.text)
    other = stage.fake.channel(stage.fake.guild("other"), "general")
    stage.fake.join(other.guild, stage.alice)  # type: ignore[arg-type]
    shown = await (await stage.alice.slash(other, "approved")).reply()
    assert "No picture of this server is approved yet." in shown.text

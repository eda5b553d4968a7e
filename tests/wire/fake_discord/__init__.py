"""An emulator of Discord (REST, gateway, content network) for bots that run real discord.py.

The bot is another process (`tests.wire.bot_process`) or a client in the test's own; both reach it
over real sockets. People act in it, and a test looks at what they see and at what was said::

    async def test_it_draws(fake: FakeDiscord) -> None:  # the fixture of tests/wire/conftest.py
        guild = fake.guild("lab", locale="de")
        channel = fake.channel(guild)
        alice = fake.person("alice", guild, locale="fr")
        async with running_bot(fake, "bot", env={"CASCADE_URL": url}) as bot:
            await bot.online()
            call = await alice.slash(channel, "imagine", prompt="a cat", count=2)
            message = await call.reply(lambda m: len(m.shown) == 2, timeout_s=30)
            assert call.ack_latency_s < 1
            clicked = await alice.click(message, "Vary details")
            opened = await (await alice.click(message, "Edit")).acked()
            submitted = await alice.submit(opened, prompt="a dog")  # by custom id or label
            await fake.gateway.drop(4000)
            await bot.terminate()
        assert [shot.text for shot in message.history] == [...]
        assert len(fake.traffic.requests("PATCH", "@original$")) <= 10

What a person does is refused with ClientRefusesError where Discord's client would refuse it (a
command that was never synced, an option out of range, a message not seen). A deed returns at once
with its Interaction: `acked`, `failed` and `reply` wait for its outcome, `fake.wait_for` for
anything else; nothing sleeps. `channel` may also be `fake.dm(alice)`, or, for a user that has
installed the application (``has_app=True``), a guild without it (``has_bot=False``) or
`fake.private_channel(alice, bob)`.

Bad days: `fake.faults` (statuses, delays, stalls, lost answers), `fake.limits`, `fake.gateway`
(drops, invalid sessions), `fake.deny`, `fake.remove_bot`, `fake.rules` (deadlines),
`fake.let_pass` (time, as Discord sees it; with ``rules.token_age_s`` the bot sees it too),
`guild.file_limit_bytes`, `fake.plant` (messages from earlier days), `alice.delete`.
"""

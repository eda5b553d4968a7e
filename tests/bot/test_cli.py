"""``cascade bot`` without a token, and without discord.py."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from bot.cli import app


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("DISCORD_TOKEN", raising=False)
    yield
    for name in ("bot", "discord", "discord.state", "discord.client"):
        logging.getLogger(name).handlers.clear()  # they hold on to this test's stderr


@pytest.mark.parametrize("command", ["run", "invite", "sync"])
def test_without_a_token_one_sentence_says_so(command: str) -> None:
    result = CliRunner().invoke(app, [command])
    assert result.exit_code == 2
    assert "error: DISCORD_TOKEN" in result.stderr
    assert "https://discord.com/developers/applications" in result.stderr
    assert "Traceback" not in result.output


def test_every_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_URL", "nowhere")
    monkeypatch.setenv("BOT_GUILDS", "lab")
    result = CliRunner().invoke(app, ["run"])
    assert result.exit_code == 2
    assert "CASCADE_URL" in result.stderr
    assert "BOT_GUILDS" in result.stderr


def test_without_discord_py_the_hint_says_what_to_install() -> None:
    # None in sys.modules is how Python notes that a module cannot be imported.
    code = (
        "import sys; sys.modules['discord'] = None\n"
        "from bot.cli import main; sys.argv = ['bot', 'run']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'cascade-serve[bot]'" in done.stderr


def test_the_service_command_line_finds_the_bot_without_knowing_it() -> None:
    from importlib.metadata import EntryPoint, EntryPoints

    from serve.cli import main

    points = EntryPoints([EntryPoint("bot", "bot.cli:app", "cascade.commands")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main, "entry_points", lambda **_: points)
        helped = CliRunner().invoke(main.app, ["--help"])
        ran = CliRunner().invoke(main.app, ["bot", "run"])
    assert "bot" in helped.stdout
    assert (ran.exit_code, "DISCORD_TOKEN" in ran.stderr) == (2, True)

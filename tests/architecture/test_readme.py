"""README tells what is true now."""

from __future__ import annotations

import re
from pathlib import Path

from bench.readme import BEGIN, END, PAGE, page, performance_section
from bot.settings import Settings as BotSettings
from bot.settings import variable
from serve.settings import ENV_PREFIX, Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_figures_shown_are_those_measured() -> None:
    shown = README.split(BEGIN)[1].split(END)[0].strip()
    assert shown == performance_section().strip()
    assert PAGE.read_text() == page()


def test_every_setting_is_explained_and_no_other() -> None:
    table = README.split("## Settings")[1].split("##")[0]
    named = set(re.findall(rf"`({ENV_PREFIX}[A-Z_]+)`", table))
    clients = {"CASCADE_URL", "CASCADE_API_KEY"}
    assert named - clients == {ENV_PREFIX + name.upper() for name in Settings.model_fields}


def test_every_setting_of_the_bot_is_explained_and_no_other() -> None:
    section = README.split("## Discord bot")[1].split("\n## ")[0]
    table = section.split("| variable |")[1].split("\n\n")[0]
    named = set(re.findall(r"`((?:DISCORD|CASCADE|BOT)_[A-Z_]+)`", table))
    assert named == {variable(name) for name in BotSettings.model_fields}


def test_every_file_it_links_to_is_there() -> None:
    links = re.findall(r"\]\((?!http|#)([^)]+)\)", README)
    missing = [link for link in links if not (ROOT / link).exists()]
    assert missing == []

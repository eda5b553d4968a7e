"""Runs a module with discord.py pointed at the emulator: ``run_bot.py MODULE [ARGUMENT ...]``.

The bot's code is unchanged; only discord.py's three built-in URLs are replaced by those
in FAKE_DISCORD_API, FAKE_DISCORD_GATEWAY and FAKE_DISCORD_CDN.
"""

from __future__ import annotations

import os
import runpy
import sys
from multiprocessing.connection import Connection

import yarl
from discord.asset import Asset
from discord.gateway import DiscordWebSocket
from discord.http import Route


def point_at(api_url: str, gateway_url: str, cdn_url: str) -> None:
    """Send discord.py of this process elsewhere than to Discord."""
    Route.BASE = api_url
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway_url)
    Asset.BASE = cdn_url


def run(command: list[str]) -> None:
    """Run a module with arguments."""
    point_at(*(os.environ[f"FAKE_DISCORD_{name}"] for name in ("API", "GATEWAY", "CDN")))
    sys.argv = command
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def run_in_fork(command: list[str], environment: dict[str, str], output: Connection) -> None:
    """Run it in this fork as in a process of this environment, with this output and errors."""
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    os.environ.clear()
    os.environ.update(environment)
    run(command)


if __name__ == "__main__":
    run(sys.argv[1:])

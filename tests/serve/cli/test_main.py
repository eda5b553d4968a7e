"""How the process of a command ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import asyncio, sys, threading, time, types
from asyncio.base_events import BaseEventLoop
from serve.cli import main
from serve.storage.blobs.blob_store import BlobStore

hand_over = BaseEventLoop.call_soon_threadsafe

def hand_over_slowly(*args, **options):
    handle = hand_over(*args, **options)
    if threading.current_thread() is not threading.main_thread():
        time.sleep(1)
    return handle

class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(3)

BaseEventLoop.call_soon_threadsafe = hand_over_slowly
# The interpreter takes long to go, as on a busy machine.
sys.modules["slow"] = types.ModuleType("slow")
sys.modules["slow"].kept = Slow()

@main.app.command()
def probe(url: str):
    asyncio.run(BlobStore(url).probe())
    print("done")

@main.app.command()
def fault():
    raise ZeroDivisionError

main.run()
"""


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _PROGRAM, *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_threads_of_the_blob_store_do_not_abort_a_command_that_is_done(tmp_path: Path) -> None:
    ended = _run("probe", f"file://{tmp_path}")
    assert ended.stdout == "done\n"
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(("arguments", "code"), [(("--version",), 0), (("nothing",), 2)])
def test_exit_codes_and_output_are_kept(arguments: tuple[str, ...], code: int) -> None:
    ended = _run(*arguments)
    assert ended.returncode == code
    assert "cascade 0." in ended.stdout or "No such command" in ended.stderr


def test_a_fault_of_ours_is_shown() -> None:
    ended = _run("fault")
    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr

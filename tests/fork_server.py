"""Processes of a test's own: forks of one that has loaded what they need, which takes seconds."""

from __future__ import annotations

from multiprocessing import get_context
from typing import Final

FORKS: Final = get_context("forkserver")
FORKS.set_forkserver_preload(["pytest", "tests.serve.job_process", "tests.wire.run_bot", "bot.run"])

"""The states of a job, as the service, the command line and the bot name them."""

from __future__ import annotations

from typing import Literal

JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]

OPEN_STATES: tuple[JobState, ...] = ("queued", "running")
"""A job in one of these states has not ended."""

TERMINAL_STATES: tuple[JobState, ...] = ("succeeded", "failed", "cancelled")
"""A job in one of these states has ended; its last event has the state's name as its type."""

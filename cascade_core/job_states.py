"""The states of a job, as the service, the command line and the bot name them."""

from __future__ import annotations

from typing import Literal

JobState = Literal["queued", "running", "waiting", "succeeded", "failed", "cancelled"]

OPEN_STATES: tuple[JobState, ...] = ("queued", "running")
"""The service works on a job in one of these states, or will."""

LIVE_STATES: tuple[JobState, ...] = (*OPEN_STATES, "waiting")
"""A job in one of these states has not ended; ``waiting``: until its client continues it."""

TERMINAL_STATES: tuple[JobState, ...] = ("succeeded", "failed", "cancelled")
"""A job in one of these states has ended; its last event has the state's name as its type."""

RESTING_STATES: tuple[JobState, ...] = ("waiting", *TERMINAL_STATES)
"""The service does nothing for a job in one of these states, and its event stream ends."""

"""What the processes of the service send each other: a stage's messages and a call's context.

The processes that run jobs and those that run stages both import this module, and neither imports
the other.
"""

from __future__ import annotations

from typing import Any, Final, TypedDict

STALL_LIMIT_S: Final = 300.0
"""The device of a replica hangs if a row is under way for so long without a step. Ray Serve then
replaces the replica, and a caller that heard nothing for longer gives the call up."""

CallContext = dict[str, str]
"""Log ids and ``traceparent`` (W3C Trace Context) of a call; small, and stored with a job."""


class ImageIds(TypedDict):
    """The ids of an image that a stage works for; an image file names both."""

    image_id: str
    latent_id: str


class StageMessage(TypedDict, total=False):
    """What a stage's replica reports to its caller.

    Attributes:
        type: ``warning`` | ``started`` | ``step`` | ``done``.
        text: what the client should know (``warning``).
        step, steps: progress (``step``).
        preview: a small WebP picture, or None (``step``).
        result: the stage's result (``done``).
        seconds: time on the model, from the end of its admission to its result (``done``).
        thumbnails: of a picture, WebP files by their longest side in pixels; absent if the result
            is no picture, or a replica of an earlier release made it (``done``).
        watermark: the algorithm of a picture's watermark; absent: it has none (``done``).
    """

    type: str
    text: str
    step: int
    steps: int
    preview: bytes | None
    result: Any
    seconds: float
    thumbnails: dict[int, bytes]
    watermark: str

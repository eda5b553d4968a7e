"""The policy with its shortest window alone: models are at rest seconds after their jobs."""

from __future__ import annotations

from typing import Any

from serve.autoscaling import serve_policy


class QuickPolicy(serve_policy.PipelinePolicy):
    """Takes the window as it is made, in Serve's controller, which gets this class by value."""

    def __init__(self, **sizing: Any) -> None:
        super().__init__(**sizing)
        serve_policy.RATE_WINDOWS_S = serve_policy.RATE_WINDOWS_S[:1]  # type: ignore[assignment]

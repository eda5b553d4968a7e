"""The messages that show a job's outcome."""

from __future__ import annotations

import pytest

from bot.jobs.outcome import is_public


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("http://127.0.0.1:8000/a", False),
        ("http://localhost:8000/a", False),
        ("http://cascade:8000/a", False),
        ("http://10.0.0.3/a", False),
        ("http://[::1]/a", False),
        ("https://pictures.example.org/a", True),
        ("http://93.184.216.34/a", True),
    ],
)
def test_only_links_that_others_could_open_are_shown(url: str, public: bool) -> None:
    assert is_public(url) is public

"""What the log has of a gateway's start, and of Serve's own lines."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve._private.constants import SERVE_LOGGER_NAME
from ray.serve._private.logging_utils import access_log_msg

from serve.gateway import deployment
from serve.gateway.deployment import Gateway, is_no_notification
from serve.settings import Settings
from serve.studio.files import WITHOUT_PREACT
from tests.migrated import with_tables
from tests.serve.served import DEMO


@pytest.mark.parametrize(
    ("method", "status", "is_logged"),
    [("notify_of_events", "OK", False), ("notify_of_events", "ERROR", True), ("other", "OK", True)],
)
def test_only_notifications_that_succeed_are_left_out_of_the_log(
    method: str, status: str, is_logged: bool
) -> None:
    # Ray's own function: the filter compares with a text that is no part of Ray's interface.
    text = access_log_msg(method="CALL", route=method, status=status, latency_ms=0.5)
    record = logging.LogRecord(SERVE_LOGGER_NAME, logging.INFO, "", 0, text, None, None)
    assert is_no_notification(record) is is_logged


def test_serve_writes_to_the_logger_that_is_filtered() -> None:
    assert SERVE_LOGGER_NAME == "ray.serve"


def test_a_gateway_warns_at_its_start_that_the_page_has_no_library(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("configure_logging", "configure_tracing"):
        monkeypatch.setattr(deployment, name, lambda *_: None)
    monkeypatch.setattr(deployment, "studio_files", lambda: SimpleNamespace(problem=WITHOUT_PREACT))
    settings = Settings(data_dir=tmp_path)
    with_tables(settings.database_url)
    jobs: Any = None
    Gateway(settings, [DEMO], jobs)
    assert WITHOUT_PREACT in caplog.messages

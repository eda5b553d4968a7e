"""What the log has of Serve's own lines."""

from __future__ import annotations

import logging

import pytest
from ray.serve._private.constants import SERVE_LOGGER_NAME
from ray.serve._private.logging_utils import access_log_msg

from serve.gateway.deployment import is_no_notification


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

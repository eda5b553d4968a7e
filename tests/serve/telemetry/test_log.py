from __future__ import annotations

import asyncio
import json
import logging
from contextvars import ContextVar

import pytest

from serve.settings import Settings
from serve.telemetry.log import (
    JsonFormatter,
    TextFormatter,
    configure_logging,
    context_of_ids,
    current_context,
    log_context,
)

pytestmark = pytest.mark.usefixtures("restored_loggers")


def test_ids_of_the_context_are_in_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_format="text"))
    with log_context(request_id="R1"), log_context(job_id="J1"):
        logging.getLogger("serve.gateway.application").info("accepted %d", 3)
    logging.getLogger("serve.gateway.application").info("later")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("INFO serve.gateway.application accepted 3 request_id=R1 job_id=J1")
    assert second.endswith("INFO serve.gateway.application later")


def test_json_lines_hold_time_level_message_and_ids(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_format="json"))
    with log_context(job_id="J1"):
        logging.getLogger("cascade_core.engine.engine").warning('say "hi"\nthere')
    line = json.loads(capsys.readouterr().err)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "WARNING",
        "logger": "cascade_core.engine.engine",
        "message": 'say "hi"\nthere',
        "job_id": "J1",
    }


def test_configuring_twice_logs_each_record_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings())
    configure_logging(Settings())
    logging.getLogger("serve").info("once")
    assert capsys.readouterr().err.count("once") == 1


def test_the_level_is_respected(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_level="WARNING"))
    logging.getLogger("serve").info("quiet")
    assert capsys.readouterr().err == ""


async def test_tasks_and_threads_inherit_the_ids_and_do_not_mix_them() -> None:
    async def ids(job_id: str) -> dict[str, str]:
        with log_context(job_id=job_id):
            await asyncio.sleep(0)
            return await asyncio.to_thread(current_context)

    first, second = await asyncio.gather(ids("a"), ids("b"))
    assert (first, second) == ({"job_id": "a"}, {"job_id": "b"})
    assert current_context() == {}


@pytest.mark.parametrize(
    "evil", ["\n", "\r", "\x1b[2J", "\x85", "\u2028", "\u202e", "\u2066", "\u200f", "\x00"]
)
def test_a_message_cannot_forge_a_line_or_steer_the_terminal(evil: str) -> None:
    record = logging.LogRecord("serve", logging.INFO, "f", 1, f"a{evil}FORGED", None, None)
    for formatter in (TextFormatter(), JsonFormatter()):
        line = formatter.format(record)
        assert len(line.splitlines()) == 1
        assert evil not in line


def test_a_traceback_is_indented_below_its_record() -> None:
    try:
        raise ValueError("first\nINFO serve forged")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("serve", logging.ERROR, "f", 1, "failed", None, info)
    lines = TextFormatter().format(record).splitlines()
    assert lines[0].endswith("ERROR serve failed")
    assert all(line.startswith("  ") for line in lines[1:])
    assert "ValueError" in json.loads(JsonFormatter().format(record))["exception"]


async def test_a_task_that_outlives_its_request_keeps_the_ids_and_nothing_else() -> None:
    other: ContextVar[str] = ContextVar("other", default="")
    other.set("of the request")

    async def seen() -> tuple[dict[str, str], str]:
        return current_context(), other.get()

    with log_context(request_id="R1"):
        task = asyncio.create_task(seen(), context=context_of_ids("J1"))
    assert await task == ({"request_id": "R1", "job_id": "J1"}, "")

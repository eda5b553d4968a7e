"""The profile of Jobs and Gateway: which library a sample counts for."""

from __future__ import annotations

import pytest

from bench.service.cpu_profile import library, shares

THREAD = "thread (7): database_0;Thread._bootstrap (threading.py:1002);"
STORE = "JobStore.finish (serve/storage/job_store.py:80);"
EXECUTE = "Connection.execute (sqlalchemy/engine/base.py:1494)"


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (THREAD + STORE + EXECUTE, "SQLAlchemy and its driver"),
        (THREAD + STORE + "dumps (json/__init__.py:231)", "Cascade Serve"),
        (THREAD + "Pending.__call__ (dbos/_outcome.py:12)", "DBOS"),
        (THREAD + "wait (threading.py:629)", "the standard library's own threads"),
        ("thread (7)", "the standard library's own threads"),
    ],
)
def test_a_sample_counts_for_the_innermost_library(frames: str, expected: str) -> None:
    assert library(frames) == expected


def test_shares_count_how_often_a_stack_was_seen() -> None:
    stacks = [f"{THREAD}{STORE}{EXECUTE} 3", f"{THREAD}{STORE}dumps (json/__init__.py:231) 1"]
    assert shares(stacks) == {"SQLAlchemy and its driver": 0.75, "Cascade Serve": 0.25}

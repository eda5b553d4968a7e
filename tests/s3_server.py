"""An S3 endpoint for tests: moto's server in a process of its own, empty at first."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import httpx
import pytest

_PROGRAM = """
import logging, sys
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()  # ends with the process that started this one
"""
_BUCKETS = count()


@contextmanager
def running() -> Iterator[str]:
    """Run the server; gives its URL."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", _PROGRAM], text=True, **pipes) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


def new_bucket(server_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make an empty bucket and set the variables that lead to it; returns its ``s3://`` URL."""
    bucket = f"bucket-{next(_BUCKETS)}"
    variables = {
        "AWS_ENDPOINT_URL": server_url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    httpx.put(f"{server_url}/{bucket}").raise_for_status()
    return f"s3://{bucket}"

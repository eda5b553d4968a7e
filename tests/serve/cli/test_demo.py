"""The demo, as a newcomer runs it: the whole service on a Ray cluster of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serve.cli.cascade import Cascade


@pytest.mark.ray
def test_the_demo_makes_two_pictures_from_one_latent_and_stops_the_service(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "serve.cli.main", "demo"],
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": str(Path.cwd())}
        # As behind a company's proxy, which knows nothing of this machine's own addresses.
        | {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=False,
        timeout=880,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pictures = sorted((tmp_path / "out" / "demo").glob("*/*.png"))
    assert len(pictures) == 2
    assert all(str(picture.relative_to(tmp_path)) in done.stdout for picture in pictures)
    assert "Stage C ran once" in done.stdout
    assert done.stderr.splitlines() == [
        *("C composing 20/20", "B detailing 10/10", "A decoding 1/1"),
        *("B detailing 10/10", "A decoding 1/1"),
    ]
    [url] = re.findall(r"at (http://\S+)", done.stdout)
    assert Cascade(url)("jobs").exit_code == 3

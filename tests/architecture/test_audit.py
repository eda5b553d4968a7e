"""`make audit` says what was found, and never that all is well where nothing could be looked up."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.audit import CONSTRAINTS, FOUND, NO_VERDICT, main, verdict

GOOD = {"name": "rich", "version": "15.0.0", "vulns": []}
BAD = {
    "name": "werkzeug",
    "version": "3.0.0",
    "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["3.0.1"]}],
}
UNKNOWN = {"name": "torch", "skip_reason": "Dependency not found on PyPI"}


def report(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (report(GOOD), 0, "nothing known against 1 packages"),
        (report(GOOD, BAD), FOUND, "werkzeug 3.0.0: PYSEC-2026-1, mended in 3.0.1"),
        (report(GOOD, UNKNOWN), NO_VERDICT, "no verdict on 1 of 2"),
        (report(BAD, UNKNOWN), FOUND, "no verdict on 1 of 2"),
        ("", NO_VERDICT, "cannot be reached"),
    ],
)
def test_the_verdict_on_a_report(text: str, code: int, words: str) -> None:
    assert verdict(text)[0] == code
    assert words in verdict(text)[1]


def test_every_pin_is_asked_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "pip-audit"
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        "file = sys.argv[sys.argv.index('--requirement') + 1]\n"
        "pins = [line for line in open(file) if '==' in line and not line.startswith('#')]\n"
        "print(json.dumps({'dependencies': [{'name': p, 'vulns': []} for p in pins]}))\n"
    )
    program.chmod(0o755)
    assert main(str(program)) == 0
    pins = [line for line in CONSTRAINTS.read_text().splitlines() if not line.startswith("#")]
    assert f"against {len(pins)} packages" in capsys.readouterr().out

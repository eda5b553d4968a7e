"""`.ci/run` ends with what failed, where it is read first."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAILURES = ("FAILED tests/a.py::test_b - it is so", "ERROR tests/c.py::test_d")


@pytest.mark.parametrize("is_well", [True, False])
def test_the_names_of_failing_tests_are_told_last(tmp_path: Path, is_well: bool) -> None:
    (tmp_path / ".ci").mkdir()
    run = Path(shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci"))
    lines = ["much", *(() if is_well else FAILURES), "more"]
    told = "; ".join(f"echo '{line}'" for line in lines)
    (tmp_path / "Makefile").write_text(
        f"check:\n\t@echo checked\ntest:\n\t@{told}; exit {int(not is_well)}\n"
    )
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "apt-get").write_text("#!/bin/sh\n")  # nothing is installed for this
    (tmp_path / "bin" / "apt-get").chmod(0o755)
    # `make test` runs this test, and its variables would have the inner make say more.
    outer = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environment = outer | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run([run], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == is_well
    end = ["more"] if is_well else ["FAILED make test", *FAILURES]
    assert done.stdout.splitlines()[-len(end) :] == end

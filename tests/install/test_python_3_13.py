"""A choice of the tests without torch and Ray, on Python 3.13 where that is installed, too."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.install.python_3_13 import INSTALLED, PYTHON, ROOT, VERSION

# Of what a version of Python can break: libraries and the standard library. What it breaks for one
# example of hypothesis, or one refused row of an archive, it breaks for the next; PostgreSQL and
# its client are the same on each.
ARCHIVES = "tests/serve/maintenance/test_hostile_archive.py"
TESTS = (
    "--hypothesis-profile=few",
    "-k=not postgresql and not processes_that_start_together",
    "tests/bot",
    "--ignore=tests/bot/test_cli.py",  # it starts processes, which takes long
    "--ignore=tests/bot/views/test_picture_messages.py",  # it asks the model's text encoder
    "--ignore=tests/bot/jobs/test_follower.py",  # test_app.py follows jobs, too
    "tests/contract",
    "tests/cascade_core/images/test_image_files.py",
    "tests/cascade_core/test_wire.py",
    "tests/cascade_core/test_word_filter.py",
    "tests/serve/storage/test_database.py",
    ARCHIVES,
    f"--deselect={ARCHIVES}::test_rows_that_the_service_would_not_have_written_are_refused",
    "tests/serve/test_settings.py",
    "tests/serve/jobs/test_dbos_runtime.py",  # it runs whole jobs
)


@pytest.mark.skipif(not INSTALLED.exists(), reason=f"no Python {VERSION}, see make test's output")
@pytest.mark.timeout(3600)  # it runs some hundred tests
def test_the_chosen_tests_pass(tmp_path: Path) -> None:
    pytest_there = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*pytest_there, f"--basetemp={tmp_path / 'tests'}", *TESTS],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]

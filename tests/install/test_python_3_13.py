"""A choice of the tests without torch and Ray, on Python 3.13 where that is installed, too."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSION = "3.13"
TORCH = ("torch", "diffusers", "transformers")
LINTERS = ("cascade-serve", "ruff", "mypy", "import-linter", "types-psutil")
# Of what a version of Python can break: libraries and the standard library. What it breaks for one
# example of hypothesis, it breaks for the next; PostgreSQL and its client are the same on each.
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
    "tests/serve/maintenance/test_hostile_archive.py",
    "tests/serve/test_settings.py",
    "tests/serve/jobs/test_dbos_runtime.py",  # it runs whole jobs
)


def candidates() -> Iterator[str]:
    in_path = shutil.which(f"python{VERSION}")
    if in_path:
        yield in_path
    yield from map(str, Path.home().glob(f".pyenv/versions/{VERSION}.*/bin/python"))


def found() -> str | None:
    """Return the first that runs: pyenv's stand-ins exist for versions that are not chosen."""
    tell = f"import sys; sys.exit(sys.version_info[:2] != {tuple(map(int, VERSION.split('.')))})"
    for python in candidates():
        with suppress(OSError):
            if subprocess.run([python, "-c", tell], check=False).returncode == 0:
                return python
    return None


def requirements() -> list[str]:
    """Return what running and testing need but what only torch's users and linters need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    every = [*project["dependencies"], *extras["bot"], *extras["dev"]]
    return [line for line in every if re.split(r"[\[<>=; ]", line)[0] not in TORCH + LINTERS]


@pytest.fixture(scope="module")
def python() -> str:
    """The interpreter of an environment beside the one that runs the tests; it stays for later."""
    base = found()
    if base is None:
        pytest.skip(f"Python {VERSION} is not installed")
    environment = Path(sys.prefix) / f"python{VERSION}"
    own = str(environment / "bin" / "python")
    done_for = environment / "installed.txt"
    wanted = "\n".join([base, *requirements(), (ROOT / "constraints.txt").read_text()])
    if done_for.exists() and done_for.read_text() == wanted:
        return own
    subprocess.run([base, "-m", "venv", environment], check=True)
    pip = [own, "-m", "pip", "--disable-pip-version-check", "install", "-qq"]
    pip += ["--no-compile", "--constraint", str(ROOT / "constraints.txt")]
    done = subprocess.run([*pip, *requirements()], text=True, capture_output=True, check=False)
    if "connection broken" in done.stderr:
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    done_for.write_text(wanted)
    return own


@pytest.mark.timeout(3600)  # it installs, and runs some hundred tests
def test_the_chosen_tests_pass(python: str, tmp_path: Path) -> None:
    pytest_here = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*pytest_here, f"--basetemp={tmp_path / 'tests'}", *TESTS],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]

"""Makes an environment of Python 3.13, where that is installed, for :mod:`test_python_3_13`.

``make test`` runs it before the tests. The environment lies in the one that runs this, and stays.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSION = "3.13"
ENVIRONMENT = Path(sys.prefix) / f"python{VERSION}"
PYTHON = ENVIRONMENT / "bin" / "python"
INSTALLED = ENVIRONMENT / ".installed"
"""Written when all is installed; a make target."""
TORCH = ("torch", "diffusers", "transformers")
LINTERS = ("cascade-serve", "ruff", "mypy", "import-linter", "types-psutil")
BROWSERS = ("playwright", "axe-playwright-python")
LEFT_OUT = (*TORCH, *LINTERS, *BROWSERS)


def main() -> None:
    """Install, unless there is no such Python or no package index."""
    base = found()
    if base is None:
        print(f"Python {VERSION} is not installed; its tests are skipped")
        return
    print(f"installing a second environment, of Python {VERSION}: some minutes")
    subprocess.run([base, "-m", "venv", ENVIRONMENT], check=True)
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "-qq", "--no-compile"]
    pinned = ["--constraint", ROOT / "constraints.txt", *requirements()]
    done = subprocess.run([*pip, *pinned], text=True, stderr=subprocess.PIPE, check=False)
    if "connection broken" in done.stderr:
        print(f"the package index cannot be reached; the tests on Python {VERSION} are skipped")
        return
    if done.returncode:
        sys.exit(done.stderr)
    INSTALLED.touch()


def found() -> str | None:
    """Return the first that runs: pyenv's stand-ins exist for versions that are not chosen."""
    tell = f"import sys; sys.exit(sys.version_info[:2] != {tuple(map(int, VERSION.split('.')))})"
    for python in candidates():
        with suppress(OSError):
            run = subprocess.run([python, "-c", tell], stderr=subprocess.DEVNULL, check=False)
            if run.returncode == 0:
                return python
    return None


def candidates() -> Iterator[str]:
    """Yield interpreters by their names."""
    in_path = shutil.which(f"python{VERSION}")
    if in_path:
        yield in_path
    yield from map(str, Path.home().glob(f".pyenv/versions/{VERSION}.*/bin/python"))


def requirements() -> list[str]:
    """Return what running and testing need, without what the tests chosen here do not."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    every = [*project["dependencies"], *extras["bot"], *extras["dev"]]
    return [line for line in every if re.split(r"[\[<>=; ]", line)[0] not in LEFT_OUT]


if __name__ == "__main__":
    main()

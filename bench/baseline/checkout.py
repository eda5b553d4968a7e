"""The commit that figures are compared with: a worktree of it with an environment of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

COMMIT = "43774c8"
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "out" / "baseline"


class NoBaseline(Exception):
    """The commit is not in this repository, as in an archive or a shallow clone."""


def baseline_checkout() -> Path:
    """Return a checkout of :data:`COMMIT` that can run; the first call installs its packages.

    Raises:
        NoBaseline: the commit is not at hand.
        CalledProcessError: the installation failed.
    """
    if not _git("cat-file", "-e", f"{COMMIT}^{{commit}}"):
        raise NoBaseline(f"commit {COMMIT} is not in this repository: nothing to compare with")
    if not FOLDER.exists():
        _git("worktree", "prune")
        subprocess.run(
            ["git", "worktree", "add", "--quiet", "--detach", str(FOLDER), COMMIT],
            cwd=ROOT,
            check=True,
        )
    subprocess.run(["make", "--silent", "install"], cwd=FOLDER, check=True)
    return FOLDER


def _git(*arguments: str) -> bool:
    """Run a command of git; returns True if it succeeded."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    return done.returncode == 0

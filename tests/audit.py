"""Looks the pinned packages up among known vulnerabilities: ``python -m tests.audit PIP_AUDIT``.

pip-audit itself ends with 0 where it could look nothing up, so its report is read here. `make
audit` installs it in an environment of its own, as nothing else needs it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
FOUND, NO_VERDICT = 1, 2


def main(pip_audit: str) -> int:
    """Print what is known of the pinned packages; returns the exit code."""
    options = ("--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off")
    command = [pip_audit, "--requirement", str(CONSTRAINTS), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    code, sentence = verdict(done.stdout)
    print(sentence)
    return code


def verdict(report: str) -> tuple[int, str]:
    """Return the exit code and what to say about a report: 0, ``FOUND`` or ``NO_VERDICT``."""
    try:
        packages = json.loads(report)["dependencies"]
    except (ValueError, KeyError):
        return NO_VERDICT, "no verdict: the service of known vulnerabilities cannot be reached"
    lines = [
        f"{package['name']} {package['version']}: {vulnerability['id']}, mended in "
        f"{', '.join(vulnerability['fix_versions']) or 'no version yet'}"
        for package in packages
        for vulnerability in package.get("vulns", [])
    ]
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    if unknown:
        share = f"{len(unknown)} of {len(packages)} packages"
        why = (
            f"{unknown[0]} is unknown to the service of vulnerabilities, or that cannot be reached"
        )
        lines.append(f"no verdict on {share}: {why}")
    if any(package.get("vulns") for package in packages):
        return FOUND, "\n".join(lines)
    if unknown:
        return NO_VERDICT, "\n".join(lines)
    return 0, f"nothing known against {len(packages)} packages"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

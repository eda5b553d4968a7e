"""What the gateway's application needs."""

from __future__ import annotations

import subprocess
import sys


def test_the_gateway_runs_on_a_machine_without_torch() -> None:
    heavy = "{'torch', 'ray', 'diffusers', 'transformers', 'dbos'}"
    code = f"import sys, serve.gateway.application; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Runs one of this folder's programs with the interpreter and the modules of a checkout."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import psutil

from bench.processes import tree

STOP_S = 90.0


class Program:
    """A program of a checkout that answers each line of its input with a line of JSON.

    Args:
        checkout: a folder with the code and ``.venv``.
        name: of the program, such as ``pictures``.
        arguments: its arguments.
    """

    def __init__(self, checkout: Path, name: str, *arguments: str) -> None:
        file = Path(__file__).with_name(f"{name}.py")
        # -P: the program's folder must not hide modules of the checkout.
        command = [str(checkout / ".venv/bin/python"), "-P", str(file), *arguments]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CASCADE_")}
        self._process = subprocess.Popen(
            command,
            cwd=checkout,
            env=kept | {"PYTHONPATH": str(checkout)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, line: str) -> Any:
        """Send a line and return the answer.

        Raises:
            RuntimeError: the program ended.
        """
        if self._process.stdin is None:
            raise RuntimeError("the program has no input")
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> Any:
        """Return the next answer; what libraries print between answers is passed over.

        Raises:
            RuntimeError: the program ended.
        """
        if self._process.stdout is None:
            raise RuntimeError("the program has no output")
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"a program of the benchmark ended with {self._process.wait()}")

    def processes(self) -> list[psutil.Process]:
        """Return the program's process and all below it."""
        return tree(psutil.Process(self._process.pid))

    def stop(self) -> None:
        """Close the program's input, upon which it ends."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()

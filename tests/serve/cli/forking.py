"""Runs ``cascade`` once for each command line, in forks of one process that has loaded it.

    python -m tests.serve.cli.forking jobs --json NEXT config

Starting an interpreter takes a second for each. After a command has ended, both outputs get a NUL
byte, and standard error its exit code and another NUL.
"""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress

import serve.cli.client
import serve.cli.submit
import serve.storage.open_stores  # noqa: F401 - what commands load late
from serve.cli.main import run

NEXT = "NEXT"


def main(words: list[str]) -> None:
    """Run the command lines that `NEXT` separates."""
    while words:
        end = words.index(NEXT) if NEXT in words else len(words)
        line, words = words[:end], words[end + 1 :]
        code = _run_in_a_fork(line)
        for output, mark in ((1, b"\0"), (2, b"\0%d\0" % code)):
            with suppress(BrokenPipeError):
                os.write(output, mark)


def _run_in_a_fork(line: list[str]) -> int:
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.argv[1:] = line
    try:
        run()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)  # run ends the process itself


if __name__ == "__main__":
    main(sys.argv[1:])

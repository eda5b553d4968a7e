"""This code against the commit before its own networks, in turns: ``python -m bench.baseline``.

The first run makes a worktree of that commit under ``out/`` and installs its packages there.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.baseline.checkout import COMMIT, ROOT, NoBaseline, baseline_checkout
from bench.baseline.load import Client
from bench.baseline.programs import Program
from bench.baseline.table import table
from bench.engine.null_stages import NULL_JOB
from bench.ports import free_port
from bench.service.load import http_session
from bench.stats import machine, summary, write_result

BEFORE, NOW = "before", "now"
CLIENTS = 16
IN_A_ROW = 3
"""Pictures that are made one after another before the other side has its turn."""

Samples = dict[str, dict[str, list[Any]]]


def main() -> None:
    """Measure pairs of both sides and write the result."""
    given, where = _arguments(), machine()
    try:
        checkouts = {BEFORE: baseline_checkout(), NOW: ROOT}
    except NoBaseline as error:
        sys.exit(str(error))
    result: dict[str, Any] = {"machine": where, "commit": COMMIT, "pairs": given.pairs}
    result["in_process"] = _paired(_in_process(checkouts, given.pairs))
    for stages in ("model", "null"):
        result[stages] = _paired(asyncio.run(_served(checkouts, stages, given)))
    write_result("baseline", result, table(result))


def _in_process(checkouts: dict[str, Path], pairs: int) -> Samples:
    samples: Samples = {
        name: {BEFORE: [], NOW: []} for name in ("generate_s", "vary_s", "generate_cpu_s")
    }
    with ExitStack() as stack:
        programs = {
            side: stack.enter_context(_running(Program(folder, "pictures")))
            for side, folder in checkouts.items()
        }
        for seed in range(1, pairs * IN_A_ROW + 1, IN_A_ROW):
            for side, program in _in_turns(programs, seed):
                for number in range(seed, seed + IN_A_ROW):
                    made = program.ask(f"generate {number}")
                    samples["generate_s"][side].append(made["wall_s"])
                    samples["generate_cpu_s"][side].append(made["cpu_s"])
                    samples["vary_s"][side].append(program.ask(f"vary {number}")["wall_s"])
    return samples


async def _served(checkouts: dict[str, Path], stages: str, given: argparse.Namespace) -> Samples:
    """Measure two services that run side by side; one is idle while the other has requests."""
    is_null = stages == "null"
    samples: Samples = {
        name: {BEFORE: [], NOW: []} for name in ("alone_s", "per_s", "cpu_s", "cpu_s_by_process")
    }
    with ExitStack() as stack:
        programs, clients = {}, {}
        for side, checkout in checkouts.items():
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{side}-"))
            arguments = (stages, folder, str(free_port()))
            program = stack.enter_context(_running(Program(checkout, "service", *arguments)))
            programs[side] = program, program.answer()["url"]
        async with (
            http_session(programs[BEFORE][1]) as before,
            http_session(programs[NOW][1]) as now,
        ):
            for side, session in ((BEFORE, before), (NOW, now)):
                clients[side] = Client(session, NULL_JOB if is_null else {}, fetches=not is_null)
                await clients[side].one_after_another(IN_A_ROW)  # warm-up
            for pair in range(given.pairs):
                for side, client in _in_turns(clients, pair):
                    alone_s = await client.one_after_another(IN_A_ROW)
                    samples["alone_s"][side] += alone_s
                    processes = programs[side][0].processes()
                    loaded = await client.at_once(CLIENTS, given.seconds, processes)
                    for name in ("per_s", "cpu_s", "cpu_s_by_process"):
                        samples[name][side].append(loaded[name])
    return samples


def _in_turns(sides: dict[str, Any], pair: int) -> list[tuple[str, Any]]:
    """Return both sides; which is first changes from pair to pair."""
    both = list(sides.items())
    return both if pair % 2 else both[::-1]


def _paired(samples: Samples) -> dict[str, Any]:
    """Summarise both sides and the ratio of each pair of samples."""
    found: dict[str, Any] = {}
    for name, sides in samples.items():
        if name == "cpu_s_by_process":
            found[name] = {side: _by_process(values) for side, values in sides.items()}
            continue
        ratios = [now / before for before, now in zip(sides[BEFORE], sides[NOW], strict=True)]
        found[name] = {side: summary(values) for side, values in sides.items()}
        found[name]["now_over_before"] = summary(ratios)
    return found


def _by_process(samples: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    kinds = {kind: None for sample in samples for kind in sample}
    return {kind: summary([sample.get(kind, 0.0) for sample in samples]) for kind in kinds}


@contextmanager
def _running(program: Program) -> Iterator[Program]:
    try:
        yield program
    finally:
        program.stop()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=12.0, help="of each run of many clients")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""The time from `cascade up` to its first answer, its memory, and its CPU time while idle.

    python -m bench.service.footprint --baseline ../other

Starts the command on the demo model and an empty data folder a few times. A baseline is a folder
with another checkout and its `.venv`; both are then started in turns, so that ratios come from one
run. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

from bench.ports import free_port
from bench.processes import by_kind, cpu_s, cpu_s_since, tree, with_kinds
from bench.stats import machine, summary, write_result

TARGETS: Final = {"ready_s": 0.5, "pss_mb": 0.65, "idle_percent": 0.6}
"""Ratios to the baseline."""
BODY: Final = {"prompt": "a large red heart in the center on a white background", "seed": 1}
IDLE_S: Final = 60.0
START_LIMIT_S: Final = 300.0
POLL_S: Final = 0.1
OURS, BASELINE = "this checkout", "baseline"
ROOT: Final = Path(__file__).parents[2]


def main() -> None:
    """Measure each checkout in turns, and write the result."""
    options, where = _arguments(), machine()
    checkouts = {OURS: ROOT} | ({BASELINE: options.baseline.resolve()} if options.baseline else {})
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in checkouts}
    for _ in range(options.repeats):
        for name, folder in checkouts.items():
            runs[name].append(_run(folder, options.idle_s))
    result = {
        "machine": where,
        "idle_s": options.idle_s,
        "checkouts": {name: summarised(of_one) for name, of_one in runs.items()},
    }
    write_result("footprint", result, table(result))


def _run(folder: Path, idle_s: float) -> dict[str, Any]:
    """Start a checkout once; returns its seconds, and the figures of each process."""
    with _started(folder) as (command, http, started_at):
        ready_s = _wait_until_ready(command, http, started_at)
        begun_s = _begun_s(command, started_at)
        start_cpu_s = cpu_s(tree(command))
        asked_s = time.perf_counter()
        answer = http.post("/v1/jobs", json=BODY, headers={"Prefer": "wait=120"})
        if answer.raise_for_status().json()["state"] != "succeeded":
            raise RuntimeError(f"the picture failed: {answer.text}")
        picture_s = time.perf_counter() - asked_s
        pss_mb = _pss_mb(command)
        before_s = cpu_s(tree(command))
        time.sleep(idle_s)
        idle_cpu_s = cpu_s_since(before_s, tree(command))
        return {
            "ready_s": ready_s,
            "picture_s": picture_s,
            "begun_s": begun_s,
            "start_cpu_s": start_cpu_s,
            "pss_mb": pss_mb,
            "idle_percent": {kind: 100 * used / idle_s for kind, used in idle_cpu_s.items()},
        }


@contextmanager
def _started(folder: Path) -> Iterator[tuple[psutil.Process, httpx.Client, float]]:
    """Run `cascade up` of a checkout in the block: its process, a client, when it was started."""
    python = sys.executable if folder == ROOT else str(folder / ".venv" / "bin" / "python")
    with tempfile.TemporaryDirectory() as data_dir:
        port = free_port()
        others = ("CASCADE_", "RAY_", "PYTHONPATH")
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(others)
        }
        chosen = {"CASCADE_DATA_DIR": data_dir, "CASCADE_HTTP_PORT": str(port)}
        started_at = time.time()
        command = subprocess.Popen(
            [python, "-m", "serve.cli.main", "up"],
            cwd=folder,
            env=inherited | chosen,
            stdout=subprocess.DEVNULL,
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=180) as http:
                yield psutil.Process(command.pid), http, started_at
        finally:
            command.send_signal(signal.SIGINT)
            command.wait()


def _wait_until_ready(command: psutil.Process, http: httpx.Client, started_at: float) -> float:
    """Return the seconds from the start until the service says that a job would run."""
    while time.time() - started_at < START_LIMIT_S:
        with suppress(httpx.TransportError):
            if http.get("/readyz").status_code == 200:
                return time.time() - started_at
        if not command.is_running():
            raise RuntimeError("the service ended while it started")
        time.sleep(POLL_S)
    raise TimeoutError(f"not ready after {START_LIMIT_S:g} s")


def _begun_s(command: psutil.Process, started_at: float) -> dict[str, float]:
    """Return when the first process of each kind began, in seconds after the command."""
    found: dict[str, float] = {}
    for kind, process in with_kinds(tree(command)):
        begun_s = process.create_time() - started_at
        found[kind] = min(found.get(kind, begun_s), begun_s)
    return found


def _pss_mb(command: psutil.Process) -> dict[str, float]:
    """Return each kind's proportional set size: shared memory counts in parts."""
    return by_kind(tree(command), lambda process: process.memory_full_info().pss / 2**20)


def summarised(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the summary of each figure over the runs: of the whole, and by kind of process."""
    whole = {name: summary([run[name] for run in runs]) for name in ("ready_s", "picture_s")}
    kinds = {kind for run in runs for kind in run["pss_mb"]}
    by_process = {}
    for name in ("start_cpu_s", "pss_mb", "idle_percent"):
        whole[name] = summary([sum(run[name].values()) for run in runs])
        by_process[name] = {
            kind: summary([run[name].get(kind, 0.0) for run in runs]) for kind in kinds
        }
    by_process["begun_s"] = {
        kind: summary([run["begun_s"][kind] for run in runs if kind in run["begun_s"]] or [0.0])
        for kind in kinds
    }
    return {"whole": whole, "by_process": by_process}


def table(result: dict[str, Any]) -> str:
    """Return the tables of a result: the whole with ratios to the baseline, then each process."""
    checkouts = result["checkouts"]
    rows = {
        "ready_s": ("from the command until it is ready", "s"),
        "start_cpu_s": ("CPU time until then", "s"),
        "picture_s": ("the first picture", "s"),
        "pss_mb": ("memory after it (PSS of all processes)", "MB"),
        "idle_percent": ("of one core while idle", "%"),
    }
    lines = [
        f"| `cascade up`, demo model, nothing kept | {' | '.join(checkouts)} | ratio | target |",
        "|---" * (len(checkouts) + 3) + "|",
    ]
    for name, (what, unit) in rows.items():
        figures = [checkout["whole"][name] for checkout in checkouts.values()]
        ratio = figures[0]["median"] / figures[1]["median"] if len(figures) > 1 else None
        cells = [what, *(_spread(values, unit) for values in figures)]
        cells += ["" if ratio is None else f"{ratio:.2f}"]
        cells += [f"<= {TARGETS[name]}" if name in TARGETS else ""]
        lines.append(f"| {' | '.join(cells)} |")
    for name, checkout in checkouts.items():
        lines += ["", *_processes(name, checkout["by_process"])]
    repeats = checkouts[OURS]["whole"]["ready_s"]["n"]
    lines += [
        "",
        f"Median (least-most) of {repeats} starts on an empty data folder, files in the page "
        f"cache; {result['idle_s']:g} s idle. Not counted: processes that ended unobserved.",
    ]
    return "\n".join(lines)


def _processes(name: str, by_process: dict[str, Any]) -> list[str]:
    begun = by_process["begun_s"]
    lines = [
        f"| {name}: process | begun after | CPU time until ready | PSS | idle, of one core |",
        "|---|---|---|---|---|",
    ]
    for kind in sorted(begun, key=lambda kind: (begun[kind]["median"], kind)):
        cells = [
            kind,
            f"{begun[kind]['median']:.1f} s",
            f"{by_process['start_cpu_s'][kind]['median']:.1f} s",
            f"{by_process['pss_mb'][kind]['median']:.0f} MB",
            f"{by_process['idle_percent'][kind]['median']:.1f}%",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _spread(values: dict[str, float], unit: str) -> str:
    digits = 0 if unit == "MB" else 1
    shown = [f"{values[cut]:.{digits}f}" for cut in ("median", "min", "max")]
    return f"{shown[0]} ({shown[1]}-{shown[2]}) {unit}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.service.footprint", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="starts of each checkout")
    parser.add_argument("--idle-s", type=float, default=IDLE_S)
    parser.add_argument("--baseline", type=Path, help="folder of another checkout with its .venv")
    return parser.parse_args()


if __name__ == "__main__":
    main()

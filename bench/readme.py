"""Copies the results into README and bench/README.md, so that no figure is typed by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.baseline.checkout import COMMIT
from bench.monolith.table import DISPATCH, OURS, PLAIN
from bench.stats import RESULTS_DIR

ROOT = Path(__file__).parents[1]
README, PAGE = ROOT / "README.md", ROOT / "bench" / "README.md"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
TITLES = {
    "service": "One picture, idle",
    "footprint": "From the command to ready, memory, and CPU time while idle",
    "baseline": "Against this code before its own networks",
    "monolith": "Against servers around diffusers' pipeline",
    "forward": "The networks, against diffusers' modules",
    "engine": "A step that sixteen requests share",
    "handoff": "Hand-offs",
    "png": "Pictures as PNG files",
    "api": "The HTTP API, with stages that cost nothing",
    "cpu_profile": "Where Jobs and Gateway spend their time",
    "durability": "What durability costs",
    "databases": "Jobs on SQLite and on PostgreSQL",
    "backlog": "Accepting and showing a job behind others, on SQLite",
    "backlog_postgresql": "Accepting and showing a job behind others, on PostgreSQL",
    "library": "Searches of a large library",
    "library_page": "The page of a large library",
    "signing": "Signing pictures",
    "other_builds": "Signed pictures in other programs",
    "nearest": "The nearest pictures of a large library",
    "exports": "Exports of a thousand pictures",
    "streams": "A thousand event streams",
    "acks": "From a command or a press in Discord to the bot's answer",
    "recovery": "From a kill to the next finished job",
    "soak": "Ten times too much",
    "chaos": "Killing at random, on SQLite",
    "chaos_postgresql": "Killing at random, on PostgreSQL",
    "autoscale": "Autoscaling, simulated",
    "autoscale_live": "Autoscaling, simulator against a live run",
    "autoscale_wake": "To zero replicas and back",
    "gpu": "On one GPU, against diffusers' pipelines",
    "real_size": "The published sizes on a CPU",
}
COMMANDS = {
    "footprint": "python -m bench.service.footprint",
    "databases": "python -m bench.service.databases",
    "cpu_profile": "python -m bench.service.cpu_profile",
    "library": "python -m bench.service.library",
    "library_page": "python -m bench.service.library_page",
    "other_builds": "python -m bench.provenance.other_builds",
    "nearest": "python -m bench.provenance.nearest",
    "exports": "python -m bench.exports",
    "baseline": "python -m bench.baseline",
    "forward": "python -m bench.engine.forward",
    "png": "python -m bench.engine.png",
    "backlog": "python -m bench.service.backlog",
    "backlog_postgresql": "python -m bench.service.backlog --database-url postgresql://…",
    "gpu": "python -m bench.gpu",
    "real_size": "python -m bench.real_size",
}
"""Of results that may not be there yet."""
OWN_NETWORKS_SINCE = "2026-11-29T13:03:22+00:00"
"""Before, the networks were those of diffusers."""
LEAN_SERVICE_SINCE = "2026-11-29T18:03:30+00:00"
"""Before, each stage of a job was recorded, and gateways polled for events."""
WITHOUT_SERVICE = frozenset(
    {"forward", "engine", "handoff", "png", "gpu", "signing", "other_builds"}
)
IN_SUMMARY = (
    "service",
    "handoff",
    "durability",
    "monolith",
    "engine",
    "chaos",
    "chaos_postgresql",
    "recovery",
    "soak",
    "acks",
    "autoscale",
    "autoscale_live",
)
"""The results in README."""
BURSTY = {
    "bursty": "bursty load",
    "GenTD26, 25-28 Nov 2024, 24x": "days of a public trace that the policy was not tuned on",
}
Row = tuple[str, str, str]
PREAMBLE = f"""# Benchmarks

`make bench` measures each figure with its baseline in the same run, and writes `bench/results/`,
this page and README's summary. Some take many minutes and are run apart, then
`python -m bench.readme`: `python -m bench.baseline`, `bench.monolith`, `bench.service.footprint`,
`bench.service.cpu_profile`, `bench.service.databases`, `bench.service.library`,
`bench.service.library_page`, `bench.provenance.other_builds`, `bench.provenance.nearest`,
`bench.exports`, `bench.service.recovery`, `bench.service.soak`, `bench.service.chaos`,
`bench.autoscale`, `bench.autoscale --calibrate`, `bench.autoscale --wake`, `bench.real_size`, and
on a machine with an NVIDIA GPU `bench.gpu`. `bench.service.chaos` and `bench.service.backlog`
measure PostgreSQL with `--database-url postgresql://…`.

`make bench` and `make check` install what benchmarks need into `.venv`; run those apart with
`.venv/bin/python`. `bench.gpu` needs torch, transformers, diffusers, pillow and msgpack alone.
`bench.baseline` makes a worktree and an environment in `out/` (1.7 GB) for commit {COMMIT}, which
still runs diffusers' networks; it needs the repository's history.
`bench.service.footprint --baseline out/baseline` compares with that commit, too."""


def performance_section() -> str:
    """Return README's summary: figures with their targets, from ``results/``."""
    rows = [*_latencies(), *_under_load(), *_disturbances(), *_autoscaling()]
    lines = ["| what | measured | target |", "|---|---|---|"]
    lines += [f"| {what} | {value} | {target} |" for what, value, target in rows]
    where = (
        "Demo model; under load, random weights in as many blocks as the published ones. Tables, "
        "spread, dates and what was not measured: [bench/](bench/README.md)."
    )
    parts = [where, _age(IN_SUMMARY), f"*{_machine(_result('service'))}.*"]
    return "\n".join(lines) + "\n\n" + " ".join(part for part in parts if part)


def _latencies() -> list[Row]:
    service, handoff, durability = (_result(name) for name in ("service", "handoff", "durability"))
    in_process_vary = f"{service['in_process_vary_over_generate']:.2f}"
    c_to_b, b_to_a = (
        f"{handoff['rows'][name]['encode_decode_s']['median'] * 1e3:.2f} ms"
        for name in ("Stage C to B", "Stage B to A")
    )
    queued_ms = {
        cut: f"{durability['queued_s']['accepted_to_stage_c'][cut] * 1e3:.0f} ms"
        for cut in ("p50", "p95")
    }
    return [
        (
            "HTTP request to picture, over the same in process",
            f"{service['http_over_in_process']:.2f}",
            "<= 1.15",
        ),
        (
            f"*Vary details* over a full generation (in process: {in_process_vary})",
            f"{service['vary_over_generate']:.2f}",
            "<= 0.35",
        ),
        ("hand-off C to B; B to A", f"{c_to_b}; {b_to_a}", "<= 0.2 ms; 1 ms"),
        (
            "accepted until Stage C starts, idle, p50; p95",
            f"{queued_ms['p50']}; {queued_ms['p95']}",
            "p95 <= 50 ms",
        ),
    ]


def _under_load() -> list[Row]:
    faster, p95_over, in_time, plain_in_time = _against_plain(_result("monolith"))
    own_shares = [row["own_share"]["median"] for row in _result("engine")["stages"].values()]
    return [
        (
            "16 clients, pictures per second over those of a Ray Serve replica around diffusers' "
            "pipeline",
            f"{faster:.2f}",
            ">= 2.5",
        ),
        (
            "requests at random, 0.9 of what that can do: p95 over its own; within 3x the time of "
            f"one alone (that: {plain_in_time:.0%})",
            f"{p95_over:.2f}; {in_time:.0%}",
            "<= 0.35; >= 95%",
        ),
        (
            "a step of 16 requests, besides its U-Net, Stage C; B",
            "; ".join(f"{own:.1%}" for own in own_shares),
            "<= 5%",
        ),
    ]


def _against_plain(result: Any) -> tuple[float, float, float, float]:
    """Return the service's figures on the dispatch-bound model, and the plain server's in time.

    The figures: pictures per second and p95 over those of the plain server, and the part in time.
    """
    measured = result["models"][DISPATCH]
    at_16, opened = measured["closed"]["16"], measured["open"]
    faster = at_16[OURS]["per_s"]["median"] / at_16[PLAIN]["per_s"]["median"]
    p95_s, in_time = (
        {name: median(run[value] for run in runs) for name, runs in opened.items()}
        for value in ("p95", "in_time")
    )
    return faster, p95_s[OURS] / p95_s[PLAIN], in_time[OURS], in_time[PLAIN]


def _disturbances() -> list[Row]:
    runs = [_result("chaos"), _result("chaos_postgresql")]
    kills = sum(sum(run["kills"].values()) for run in runs)
    jobs = sum(sum(run["jobs"].values()) for run in runs)
    bad = sum(run["lost"] + run["wrong_pixels"] for run in runs)
    next_s = [process["next_s"]["median"] for process in _result("recovery")["victims"].values()]
    refused_s = _result("soak")["phases"]["overload"]["refused_s"]
    slowest_ack_s = max(row["max"] for row in _result("acks")["acked_s"].values())
    return [
        (
            "Discord button to answer, service well, gone or hanging, slowest",
            f"{slowest_ack_s * 1e3:.0f} ms",
            "<= 1 s",
        ),
        (
            f"{kills} processes killed at random: of {jobs} jobs, lost, answered twice or wrong",
            str(bad),
            "0",
        ),
        (
            "from a kill to the next finished job, least to most by process",
            f"{min(next_s):.0f} to {max(next_s):.0f} s",
            "",
        ),
        (
            "429 under ten times too many requests, p50; p95",
            f"{refused_s['p50'] * 1e3:.0f} ms; {refused_s['p95']:.1f} s",
            "",
        ),
    ]


def _autoscaling() -> list[Row]:
    traces, more = _result("autoscale")["traces"], _result("autoscale")["more"]
    attained, ratio = (median(t[name] for t in more) for name in ("slo_attainment", "gpu_ratio"))
    return [
        *(_on_trace(traces[name]["policies"], said) for name, said in BURSTY.items()),
        (
            f"{len(more)} more bursty loads of the same kind, median of the same",
            f"{attained:.1%}; {ratio:.2f}",
            ">= 97%; <= 0.60",
        ),
        (
            "the simulator's p95 against a live run",
            f"{_result('autoscale_live')['error']:+.0%}",
            "within 20%",
        ),
    ]


def _on_trace(policies: Any, said: str) -> Row:
    ours, serves = policies["ours"], policies["Serve, defaults"]
    return (
        f"{said}, simulated: jobs in time; GPU-hours over those of Serve's defaults",
        f"{ours['slo_attainment']:.1%}; {ours['gpu_s'] / serves['gpu_s']:.2f}",
        ">= 97%; <= 0.60",
    )


def page() -> str:
    """Return bench/README.md: every result's table, and the machine that it was taken on."""
    there = _there()
    parts = [f"{PREAMBLE}\n\n{_age(there)}".rstrip()]
    missing = [f"*{TITLES[name]}* (`{COMMANDS[name]}`)" for name in COMMANDS.keys() - there]
    if missing:
        parts.append(f"Not measured yet: {'; '.join(sorted(missing))}.")
    for name in there:
        table = (RESULTS_DIR / f"{name}.md").read_text().strip()
        parts += [f"## {TITLES[name]}", table, _taken(name)]
    return "\n\n".join(parts) + "\n"


def update() -> None:
    """Rewrite README's summary and the page."""
    before, rest = README.read_text().split(BEGIN)
    after = rest.split(END)[1]
    README.write_text(f"{before}{BEGIN}\n{performance_section()}\n{END}{after}")
    PAGE.write_text(page())


def _there() -> list[str]:
    # Those run apart are shown from their first run on.
    return [name for name in TITLES if (RESULTS_DIR / f"{name}.json").exists()]


def _age(names: Sequence[str]) -> str:
    """Return a sentence on the results that are older than what they measure; empty if none is."""
    older = [_is_older(name) for name in names]
    if not any(older):
        return ""
    which = "All figures here" if all(older) else "Some figures, marked below their tables,"
    return f"{which} are older than the networks or the way of jobs that they measure."


def _is_older(name: str) -> bool:
    taken_at: str = _result(name)["machine"]["taken_at"]
    return taken_at < (OWN_NETWORKS_SINCE if name in WITHOUT_SERVICE else LEAN_SERVICE_SINCE)


def _result(name: str) -> Any:
    return json.loads((RESULTS_DIR / f"{name}.json").read_text())


def _taken(name: str) -> str:
    result = _result(name)
    machine = result["machine"]
    age = ", older than what it measures" if _is_older(name) else ""
    return (
        f"*{machine['taken_at'][:10]}{age}, {_machine(result)}, "
        f"load average {machine['load_average_before'][0]} before the run.*"
    )


def _machine(result: Any) -> str:
    machine = result["machine"]
    return f"{machine['cores']} {machine['architecture']} cores, {machine['device']}"


if __name__ == "__main__":
    update()

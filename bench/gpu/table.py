"""The tables of the benchmark; what was not measured is said so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.gpu.variants import VARIANTS
from bench.stats import milliseconds

Rows = Mapping[str, Any]

_UNITS = {"FLOP/s": (1e12, "TFLOP/s"), "B/s": (1e9, "GB/s"), "launches/s": (1e3, "per ms")}
_NOT_MEASURED = "not measured"
_NOTE = (
    "Random weights in the published shapes; ours are the service's stages in one process, without "
    "the service. diffusers' pipelines make one picture after another, as PIL images. Waits: how "
    "often one picture makes the host wait until the GPU is idle; ours waits besides for the step "
    "before the one in progress. Targets, of diffusers': prompt to pixels <= 0.65, Stage C step "
    "<= 0.75, Stage B step <= 0.5, as many as it can >= 1.6x. The first: with the warm-up. Memory: "
    "without what graphs keep. Not measured: several GPUs; the service."
)


def table(result: dict[str, Any]) -> str:
    """Return all that was measured as Markdown."""
    parts = result["parts"]
    texts, missing = [f"Model: {result['scale']}, {result['dtype']}, {_software(result)}."], []
    for name, (title, make) in _TABLES.items():
        if parts.get(name):
            texts.append("\n".join(make(parts)))
        else:
            missing.append(title)
    if missing:
        texts.append(f"Not measured yet: {', '.join(missing)}.")
    return "\n\n".join([*texts, _NOTE])


def _ceilings(parts: Rows) -> list[str]:
    lines, largest = ["| the card | median | p25-p75 |", "|---|---|---|"], 0.0
    for name, row in parts["ceilings"].items():
        if "failed" in row:
            lines.append(_failed(name, row, 2))
        elif "rate" in row:
            (size, unit), rate = _UNITS[row["unit"]], row["rate"]
            low, middle, high = (f"{rate[cut] / size:.1f}" for cut in ("p25", "median", "p75"))
            lines.append(f"| {name} | {middle} {unit} | {low}-{high} {unit} |")
            largest = max(largest, rate["median"] if row["unit"] == "FLOP/s" else 0.0)
    flop = parts["ceilings"].get("flop", {})
    if largest and "picture" in flop:
        said = ", ".join(f"{name} {count / 1e12:.3f}" for name, count in flop.items())
        most = f"{largest / flop['picture']:.2f}"
        lines += ["", f"TFLOP, counted: {said}; so at most {most} pictures per second."]
    return lines


def _pictures(parts: Rows) -> list[str]:
    lines = [
        "| one picture | prompt to pixels | Stage C step | Stage B step | Stage A | Vary details "
        "| of diffusers' | waits | memory beside the weights | the first |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    measured = parts["pictures"]
    stock = measured.get("stock", {}).get("total_s")
    for name in dict.fromkeys((*VARIANTS, *measured)):
        row = measured.get(name, {})
        if "total_s" not in row:
            lines.append(_failed(name, row, 9))
            continue
        steps, whole = row["steps_s"], row["total_s"]
        times = (whole, steps["c"], steps["b"], row["stages_s"]["a"], row["vary_s"])
        share = f"{whole['median'] / stock['median']:.2f}" if stock else ""
        memory = row.get("activation_bytes")
        cells = [name, *map(milliseconds, times), share, str(row.get("waits", _NOT_MEASURED))]
        cells += [_NOT_MEASURED if memory is None else f"{memory / 1e9:.2f} GB"]
        lines.append(f"| {' | '.join(cells)} | {row['first_s']:.1f} s |")
    return lines


def _shared_steps(parts: Rows) -> list[str]:
    """One line for each stage and size; the gain is over steps of one request."""
    by_line: dict[str, dict[int, Any]] = {}
    failed = [_failed(name, row, 1) for name, row in parts["rows"].items() if "stage" not in row]
    for row in parts["rows"].values():
        if "stage" in row:
            by_line.setdefault(f"{row['stage']}, {row['side_px']} px", {})[row["count"]] = row
    counts = sorted({count for rows in by_line.values() for count in rows})
    lines = [
        f"| a step of so many requests | {' | '.join(map(str, counts))} |",
        "|---|" + "---|" * len(counts),
    ]
    for name, rows in by_line.items():
        cells = [_step_cell(rows, count) for count in counts]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += failed
    return [*lines, "", "In brackets: requests per second, over those of steps of one request."]


def _step_cell(rows: dict[int, Any], count: int) -> str:
    row, alone = rows.get(count, {}), rows.get(1, {})
    if "step_s" not in row:
        return _why(row)
    took_s = row["step_s"]["median"]
    gain = f" ({count * alone['step_s']['median'] / took_s:.2f}x)" if "step_s" in alone else ""
    return f"{took_s * 1e3:.1f} ms{gain}"


def _saturation(parts: Rows) -> list[str]:
    rows = parts["saturation"]
    lines = ["| as many as it can | per second (least-most) | of diffusers' |", "|---|---|---|"]
    for name, row in rows.items():
        if "failed" in row:
            lines.append(_failed(name, row, 2))
            continue
        rate, stock = row["pictures_per_s"], rows["stock"]["pictures_per_s"]
        spread = f"{rate['median']:.2f} ({rate['min']:.2f}-{rate['max']:.2f})"
        lines.append(f"| {name} | {spread} | {rate['median'] / stock['median']:.2f}x |")
    return lines


def _mixed(parts: Rows) -> list[str]:
    rows = parts["mixed"]
    rate = next((f"{row['rate_per_s']:.2f}" for row in rows.values() if "failed" not in row), "?")
    lines = [
        f"| {rate} requests a second at random, sizes and steps mixed | p50 / p95 / p99 "
        "| within 3x diffusers' time alone |",
        "|---|---|---|",
    ]
    for name, row in rows.items():
        if "failed" in row:
            lines.append(_failed(name, row, 2))
            continue
        cuts = " / ".join(f"{row[cut]:.2f}" for cut in ("p50", "p95", "p99"))
        lines.append(f"| {name} | {cuts} s | {row['in_time']:.0%} |")
    return lines


_TABLES: Final[dict[str, tuple[str, Callable[[Rows], list[str]]]]] = {
    "ceilings": ("what the card can do", _ceilings),
    "pictures": ("one picture at a time", _pictures),
    "rows": ("requests that share a step", _shared_steps),
    "saturation": ("as many pictures as it can", _saturation),
    "mixed": ("mixed sizes and steps at random", _mixed),
}


def _failed(name: str, row: Rows, columns: int) -> str:
    """Return a line that says why a row has no figures."""
    return f"| {name} | {_why(row)} |" + " |" * (columns - 1)


def _why(row: Rows) -> str:
    return f"failed: {row['failed']}" if "failed" in row else _NOT_MEASURED


def _software(result: dict[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in result["software"].items())

"""The tables of the check; what was not measured is said so."""

from __future__ import annotations

from typing import Any, Final

TARGET: Final = 1.15


def table(result: dict[str, Any]) -> str:
    """Return the figures of all sizes as Markdown."""
    texts = []
    for size, found in result["sizes"].items():
        texts += ["\n".join(_loading(size, found["loading"])), _picture(found)]
    missing = sorted({"lite", "full"} - result["sizes"].keys())
    unmeasured = [*(f"the size `{size}`" for size in missing), "the published weights", "a GPU"]
    texts.append(
        "Random weights, on the CPU, in bfloat16, one torch thread a stage unless it is set "
        f"otherwise; GB of 10^9 bytes. Not measured: {', '.join(unmeasured)}."
    )
    return "\n\n".join(texts)


def _loading(size: str, stages: dict[str, Any]) -> list[str]:
    lines = [
        f"| {size}, each stage alone | weights | peak while loading, of the weights "
        "| after the first step: private, mapped, peak | loading | first step |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in stages.items():
        ratio = row["load_peak_bytes"] / row["weights_bytes"]
        kinds = (row["bytes"]["private"], row["bytes"]["mapped"], row["peak_bytes"])
        lines.append(
            f"| Stage {name.upper()} | {_gb(row['weights_bytes'])} "
            f"| {_gb(row['load_peak_bytes'])}, {ratio:.2f} (target <= {TARGET}) "
            f"| {', '.join(map(_gb, kinds))} | {row['load_s']:.1f} s | {row['warm_up_s']:.1f} s |"
        )
    return lines


def _picture(found: dict[str, Any]) -> str:
    service, picture = found.get("service"), found["picture"]
    if service is None:
        return "Not measured: the service on it."
    lines = ["| process of the service | ready: private, mapped | after a picture | peak |"]
    lines.append("|---|---|---|---|")
    for kind, after in sorted(service["after"].items()):
        at_ready = service["at_ready"].get(kind)
        cells = [
            f"{_gb(one['private'])}, {_gb(one['mapped'])}" if one else ""
            for one in (at_ready, after)
        ]
        lines.append(f"| {kind} | {' | '.join(cells)} | {_gb(after['peak'])} |")
    steps = f"{picture['steps']} + {picture['decoder_steps']} steps"
    costs = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in service["cost_s"].items())
    lines += ["", f"Ready after {service['ready_s']:.1f} s, Ray included. One picture of "]
    lines[-1] += f"{picture['width']} px in {steps}: {costs}."
    return "\n".join(lines)


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f} GB"

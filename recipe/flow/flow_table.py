"""The figures of both demo models as markdown tables, side by side."""

from typing import Any

from recipe.evaluation.evaluation_table import ATTRIBUTES, OPEN_ATTRIBUTES


def flow_table(found: dict[str, Any]) -> str:
    """Return all figures as markdown."""
    parts = (
        _held_out(found["held_out"]),
        _open_prompts(found["open_prompts"]),
        _vary(found["vary"]),
        _costs(found),
    )
    return "\n".join("\n".join(part) + "\n" for part in parts)


def _held_out(models: dict[str, Any]) -> list[str]:
    lines = ["| model | background | things | present | place | colour | shape | texture |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for model, shares in models.items():
        spread = shares["spread"]
        background = _cell(shares["background"], spread["background"])
        for things in ("one", "two"):
            cells = " | ".join(_cell(shares[things][a], spread[things][a]) for a in ATTRIBUTES)
            lines.append(f"| {model} | {background} | {things} | {cells} |")
    return lines


def _open_prompts(models: dict[str, Any]) -> list[str]:
    agree = ("colour", "background", "place")
    names = " | ".join(OPEN_ATTRIBUTES)
    same = " | ".join(f"same {name}" for name in agree)
    lines = [f"| model | open pictures | {names} | mask IoU of two seeds | {same} |"]
    lines.append("|---" * (3 + len(OPEN_ATTRIBUTES) + len(agree)) + "|")
    for model, row in models.items():
        named = row["right"]
        right = [f"{named[a]['share']:.1%}" if a in named else "" for a in OPEN_ATTRIBUTES]
        alike = [f"{row['alike'][a]:.1%}" for a in agree]
        cells = [str(row["pictures"]), *right, f"{row['pair_mask_iou']:.2f}", *alike]
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return lines


def _vary(models: dict[str, Any]) -> list[str]:
    lines = ["| model | vary | mask IoU | place kept | left open and kept | asked for and right |"]
    lines.append("|---|---|---|---|---|---|")
    for model, rows in models.items():
        for strength, row in rows.items():
            shares = " | ".join(f"{row[key]['share']:.1%}" for key in ("place", "kept", "right"))
            lines.append(f"| {model} | {strength} | {row['mask_iou']:.2f} | {shares} |")
    return lines


def _costs(found: dict[str, Any]) -> list[str]:
    lines = ["| model | weights MB | seconds, 1 thread | seconds, 2 threads |", "|---|---|---|---|"]
    for model, size_mb in found["weights_mb"].items():
        times = " | ".join(
            f"{row[model]['median']:.2f} ({row[model]['fastest']:.2f}-{row[model]['slowest']:.2f})"
            for row in found["seconds"].values()
        )
        lines.append(f"| {model} | {size_mb} | {times} |")
    return lines


def _cell(share: float, spread: list[float]) -> str:
    """Write a share with the lowest and highest of the seeds."""
    low, high = spread
    return f"{share:.1%} ({100 * low:.0f}-{100 * high:.0f})"

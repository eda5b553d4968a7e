"""The evaluation's figures as markdown tables."""

from typing import Any, Final

from recipe.evaluation.share import wilson_interval

ATTRIBUTES: Final = ("is_present", "place", "colour", "shape", "texture")
OPEN_ATTRIBUTES: Final = ("shape", "texture", "colour", "background", "place")


def table(figures: dict[str, Any]) -> str:
    """Return the figures as markdown: the links, the open prompts, the rest."""
    lines = ["| link | background | things | present | place | colour | shape | texture |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for link, shares in figures["links"].items():
        for name in ("one", "two"):
            cells = " | ".join(_cell(shares[name][a], shares[name]["count"]) for a in ATTRIBUTES)
            background = _cell(shares["background"], shares["pictures"])
            lines.append(f"| {link} | {background} | {name} | {cells} |")
    lines += ["", *_open_prompts(figures["open_prompts"])]
    others = {k: v for k, v in figures.items() if not isinstance(v, dict)}
    others |= {f"vary details: {k}": v for k, v in figures["vary_details"].items()}
    lines += ["", "| figure | value |", "|---|---|"]
    lines += [f"| {name.replace('_', ' ')} | {value} |" for name, value in others.items()]
    return "\n".join(lines) + "\n"


def _open_prompts(rows: dict[str, Any]) -> list[str]:
    """What is right of what the prompts name; how often two seeds agree on what they leave open."""
    agree = ("colour", "background", "place")
    lines = [
        f"| open prompts name | pictures | {' | '.join(OPEN_ATTRIBUTES)} | mask IoU of two seeds | "
        f"{' | '.join(f'same {name}' for name in agree)} |"
    ]
    lines.append("|---" * (3 + len(OPEN_ATTRIBUTES) + len(agree)) + "|")
    for name, row in rows.items():
        right = [
            _cell(row["right"][a]["share"], row["right"][a]["of"]) if a in row["right"] else ""
            for a in OPEN_ATTRIBUTES
        ]
        alike = [f"{row['alike'][a]:.1%}" if a in row["alike"] else "" for a in agree]
        cells = [str(row["pictures"]), *right, f"{row['pair_mask_iou']:.2f}", *alike]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _cell(found_share: float, count: int) -> str:
    """Write a share with its interval of 95%."""
    low, high = wilson_interval(found_share, count)
    return f"{found_share:.1%} ({100 * low:.0f}-{100 * high:.0f})"

"""The evaluation's figures as a markdown table."""

from typing import Any, Final

ATTRIBUTES: Final = ("is_present", "place", "colour", "shape", "texture")


def table(figures: dict[str, Any]) -> str:
    """Return the figures as markdown."""
    lines = ["| link | background | things | present | place | colour | shape | texture |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for link, shares in figures["links"].items():
        for name in ("one", "two"):
            cells = " | ".join(f"{shares[name][a]:.1%}" for a in ATTRIBUTES)
            lines.append(f"| {link} | {shares['background']:.1%} | {name} | {cells} |")
    others = {k: v for k, v in figures.items() if not isinstance(v, dict)}
    others |= {f"vary details: {k}": v for k, v in figures["vary_details"].items()}
    lines += ["", "| figure | value |", "|---|---|"]
    lines += [f"| {name.replace('_', ' ')} | {value} |" for name, value in others.items()]
    return "\n".join(lines) + "\n"

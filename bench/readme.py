"""Copy the results' tables into README, between its markers; no figure is typed by hand."""

from __future__ import annotations

import json
from pathlib import Path

from bench.stats import RESULTS_DIR

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
TITLES = {
    "service": "One picture, idle",
    "handoff": "Hand-offs",
    "api": "The HTTP API, with stages that cost nothing",
    "durability": "What durability costs",
    "streams": "A thousand event streams",
    "recovery": "From a kill to the next finished job",
    "soak": "Ten times too much",
    "chaos": "Killing at random, on SQLite",
    "chaos_postgresql": "Killing at random, on PostgreSQL",
    "autoscale": "Autoscaling, simulated",
    "autoscale_live": "Autoscaling, simulator against a live run",
}


def performance_section() -> str:
    """Return the section between the markers, made from ``results/``."""
    parts = [
        "`make bench` measures each figure with its baseline in the same run and writes "
        "`bench/results/` and this section. Some take many minutes and are run apart, then "
        "`python -m bench.readme`: `python -m bench.recovery`, `bench.soak`, `bench.chaos`, "
        "`bench.autoscale` and `bench.autoscale --calibrate`."
    ]
    # Those run apart are shown from their first run on.
    for name in (name for name in TITLES if (RESULTS_DIR / f"{name}.json").exists()):
        result = json.loads((RESULTS_DIR / f"{name}.json").read_text())
        machine = result["machine"]
        load = machine["load_average_before"][0]
        taken = (
            f"*{machine['taken_at'][:10]}, {machine['cores']} {machine['architecture']} cores, "
            f"{machine['device']}, load average {load} before the run.*"
        )
        parts += [f"### {TITLES[name]}", (RESULTS_DIR / f"{name}.md").read_text().strip(), taken]
    return "\n\n".join(parts)


def update_readme() -> None:
    """Rewrite README's performance section."""
    text = README.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    README.write_text(f"{before}{BEGIN}\n{performance_section()}\n{END}{after}")


if __name__ == "__main__":
    update_readme()

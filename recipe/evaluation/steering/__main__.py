"""Measures what operations keep and change: `python -m recipe.evaluation.steering`.

24 open prompts, uploads and templates with two seeds each run in the service's own pipeline. A
picture and what is made from its latent have the same seed of details, so every difference comes
from Stage C.
"""

import json
from typing import Final

from recipe.evaluation.open_prompts import open_prompts
from recipe.evaluation.steering.drawn import measure_drawn
from recipe.evaluation.steering.originals import SEEDS, draw_original, load_pipeline, uploads
from recipe.evaluation.steering.series import measure_series
from recipe.evaluation.steering.tables import tables
from recipe.evaluation.steering.uploaded import latent_cosine, measure_uploads
from recipe.scale import RESULTS_DIR

PROMPTS: Final = 24


def main() -> None:
    """Draw, measure, and write JSON and tables."""
    pipeline = load_pipeline()
    originals = [
        draw_original(pipeline, prompt, 1000 * seed + number)
        for seed in SEEDS
        for number, prompt in enumerate(open_prompts(PROMPTS))
    ]
    found = {
        "operations": measure_drawn(pipeline, originals)
        | measure_uploads(pipeline, uploads(PROMPTS)),
        "latent_cosine": latent_cosine(originals),
        "series": measure_series(pipeline, PROMPTS),
    }
    RESULTS_DIR.mkdir(parents=True, exist_ok=True)
    (RESULTS_DIR / "steering.json").write_text(json.dumps(found, indent=2) + "\n")
    (RESULTS_DIR / "steering.md").write_text(tables(found))
    print(tables(found), flush=True)


if __name__ == "__main__":
    main()

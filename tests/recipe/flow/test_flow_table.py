"""The table sets both models beside each other, with the spread of the seeds."""

from recipe.evaluation.evaluation_table import ATTRIBUTES, OPEN_ATTRIBUTES
from recipe.flow.flow_table import flow_table


def figures(share: float) -> dict[str, object]:
    things = dict.fromkeys(ATTRIBUTES, share)
    spread = {name: [share - 0.1, share + 0.1] for name in ATTRIBUTES}
    return {
        "background": share,
        "one": things,
        "two": things,
        "spread": {"background": [share, share], "one": spread, "two": spread},
    }


def opened(share: float) -> dict[str, object]:
    return {
        "pictures": 8,
        "right": {name: {"share": share, "of": 8} for name in OPEN_ATTRIBUTES},
        "alike": dict.fromkeys(("colour", "background", "place"), share),
        "pair_mask_iou": 0.3,
    }


def varied(share: float) -> dict[str, object]:
    kept = {name: {"share": share, "of": 8} for name in ("place", "kept", "right")}
    return {"0.7": kept | {"mask_iou": 0.5}}


def test_both_models_have_their_figures_in_every_table() -> None:
    shares = {"demo": 0.9, "demo-flow": 0.6}
    found = {
        "weights_mb": {"demo": 11.5, "demo-flow": 7.8},
        "seconds": {
            count: {m: {"median": 0.5, "fastest": 0.4, "slowest": 2.0} for m in shares}
            for count in ("1", "2")
        },
        "held_out": {model: figures(share) for model, share in shares.items()},
        "open_prompts": {model: opened(share) for model, share in shares.items()},
        "vary": {model: varied(share) for model, share in shares.items()},
    }
    lines = flow_table(found).splitlines()
    right = "60.0% (50-70)"
    assert f"| demo-flow | 60.0% (60-60) | one | {' | '.join([right] * 5)} |" in lines
    assert "| demo-flow | 8 | " + " | ".join(["60.0%"] * 5) + " | 0.30 | " in "\n".join(lines)
    assert "| demo | 0.7 | 0.50 | 90.0% | 90.0% | 90.0% |" in lines
    assert "| demo-flow | 7.8 | 0.50 (0.40-2.00) | 0.50 (0.40-2.00) |" in lines

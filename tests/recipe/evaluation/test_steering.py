"""What operations keep and change is measured against the picture that they start from."""

import numpy as np
import pytest

from cascade_core.pipeline import CascadePipeline
from recipe.evaluation.drawing import Picture
from recipe.evaluation.open_prompts import OpenPrompt
from recipe.evaluation.reading import Reading, read_picture
from recipe.evaluation.steering import series
from recipe.evaluation.steering.comparison import figures, psnr_db
from recipe.evaluation.steering.drawn import decode_larger, remix, two_passes, vary
from recipe.evaluation.steering.originals import Original, draw_original, load_pipeline, uploads
from recipe.evaluation.steering.series import (
    Template,
    measure_series,
    series_figures,
    templates,
)
from recipe.evaluation.steering.tables import series_table, table, tables
from recipe.evaluation.steering.uploaded import latent_cosine, start_from
from recipe.scenes.captions import exact_caption
from recipe.scenes.render import render
from recipe.scenes.scene import Scene, Thing

PROMPT = OpenPrompt("star", "colour", "red")
MASK = np.ones((64, 64), bool)
TEMPLATE = Template("a {colour} star", "colour", ("red", "blue"), {"shape": "star"})


def scene(
    background: str = "white", colour: str = "red", shape: str = "star", x_px: float = 128
) -> Picture:
    """Render a plain thing of 52 px radius, half way down."""
    thing = Thing(shape, colour, "plain", "", "medium", x_px, 128, 52)
    return render(Scene(background, (thing,), grain_seed=0))


def compare(made: Picture) -> dict[str, object]:
    """Compare one picture with the red star, for the prompt that asked for it."""
    return figures([scene()], [made], [PROMPT.named])


def test_what_the_prompt_names_can_be_right_and_what_it_leaves_open_can_be_kept() -> None:
    same = compare(scene())
    assert same["mask_iou"] == same["detail"] == 1
    assert same["place"] == {"share": 1, "of": 1}
    assert same["kept"] == same["right"] == {"share": 1, "of": 2}
    moved = compare(scene(x_px=190))
    assert moved["place"] == {"share": 0, "of": 1}
    assert moved["mask_iou"] < 0.5
    assert compare(scene(background="blue"))["kept"] == {"share": 0.5, "of": 2}
    assert compare(scene(colour="blue"))["right"] == {"share": 0.5, "of": 2}


def test_a_larger_picture_is_read_at_the_size_of_the_first_and_has_less_detail_a_pixel() -> None:
    larger = np.kron(scene(), np.ones((2, 2, 1), np.uint8))
    found = compare(larger)
    assert found["mask_iou"] == found["kept"]["share"] == 1
    assert found["detail"] < 1


def test_a_share_of_nothing_is_left_out_of_the_table() -> None:
    found = figures([scene()], [scene()], [read_picture(scene()).shown])
    row = table({"all is asked for": found}).splitlines()[-1]
    assert row == "| all is asked for | 1 | 1.00 |  |  | 100.0% (51-100) | 1.00 |"


def test_the_signal_to_noise_ratio_is_of_small_pictures() -> None:
    black, grey = (np.full((128, 128, 3), value, np.uint8) for value in (0, 51))
    assert psnr_db([black], [grey]) == 13.98  # 20 log10 of 255/51


def readings(*shown: tuple[str, str]) -> list[Reading]:
    """Readings of a star of each colour at each place."""
    return [Reading({"shape": "star", "colour": c, "place": p}, MASK) for c, p in shown]


def test_a_series_is_right_in_its_variable_and_constants_and_alike_in_the_rest() -> None:
    good = series_figures([TEMPLATE], [readings(("red", "left"), ("blue", "left"))])
    assert good["variable"] == good["constants"] == {"share": 1, "of": 2}
    assert good["same_place"] == {"share": 1, "of": 1}
    bad = series_figures([TEMPLATE], [readings(("red", "left"), ("red", "top"))])
    assert bad["variable"] == {"share": 0.5, "of": 2}
    assert bad["same_place"] == {"share": 0, "of": 1}
    assert "| 100.0% (34-100) | 1.00 |" in series_table({"good": good})


def test_all_figures_are_in_the_tables() -> None:
    operation = figures([scene()], [scene()], [PROMPT.named]) | {"psnr_db": 21.5}
    one = series_figures([TEMPLATE], [readings(("red", "left"), ("blue", "left"))])
    found = {"operations": {"start": operation}, "series": {"hero": one}, "latent_cosine": 0.98}
    shown = tables(found)
    assert all(part in shown for part in ("| start | 1 |", "| hero | 2 |", "21.5 dB |", "| 0.98 |"))


def test_the_templates_name_every_kind_of_constant() -> None:
    chosen = templates(24)
    assert len({template.text for template in chosen}) == 24
    named = {name for template in chosen for name in template.constants}
    assert named == {"shape", "background", "colour", "place"}
    assert all(template.variable not in template.constants for template in chosen)


@pytest.fixture(scope="module")
def pipeline() -> CascadePipeline:
    return load_pipeline()


@pytest.fixture(scope="module")
def original(pipeline: CascadePipeline) -> Original:
    return draw_original(pipeline, PROMPT, 1)


def test_the_operations_run_and_a_strength_of_zero_changes_nothing(
    pipeline: CascadePipeline, original: Original
) -> None:
    unchanged = vary(pipeline, [original], 0.0)
    assert unchanged["mask_iou"] == unchanged["kept"]["share"] == 1
    assert remix(pipeline, [original])["pictures"] == 1
    assert decode_larger(pipeline, [original])["kept"]["of"] == 2
    assert two_passes(pipeline, [original], 0.5)["detail"] > 0


def test_an_upload_that_is_not_composed_anew_comes_back(
    pipeline: CascadePipeline, original: Original
) -> None:
    upload = uploads(1)[0]
    (made,) = start_from(pipeline, [upload], [exact_caption(upload.scene)], 0)
    assert psnr_db([upload.pixels_hwc], [made]) > 15
    assert latent_cosine([original]) > 0.9


def test_series_are_made_from_heroes_and_from_one_seed(
    pipeline: CascadePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "SEEDS", series.SEEDS[:1])
    rows = measure_series(pipeline, 1)
    assert list(rows)[::2] == ["from the hero at 0.7", "from the hero at 0.8", "one seed, no hero"]
    assert {row["pictures"] for row in rows.values()} == {series.VARIANTS}

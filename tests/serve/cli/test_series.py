"""``series`` against a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image, ImageFont

from serve.cli.contact_sheet import CELL_PX, contact_sheet
from serve.cli.series import MAX_TABLE_CHARS
from tests.serve.cli.cascade import Cascade
from tests.serve.cli.scripted_server import ScriptedService

TEMPLATE = "a {colour} {product} on a white background"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "products.csv"
    rows = "product, colour,sku\nmug,red,17\nmug,blue,18\n杯,rot,19\n"
    file.write_text(rows, encoding="utf-8-sig")
    return file


def test_each_row_of_a_table_becomes_a_picture_and_all_a_contact_sheet(
    cascade: Cascade, service: ScriptedService, table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ["--hero", "LAT7", "--strength", "0.8", "--out", str(out)]
    result = cascade("series", str(table), "--template", TEMPLATE, *arguments)
    assert result.exit_code == 0, result.output
    variants = [
        {"colour": "red", "product": "mug"},
        {"colour": "blue", "product": "mug"},
        {"colour": "rot", "product": "杯"},
    ]
    expected = {"kind": "series", "template": TEMPLATE, "variants": variants}
    assert service.bodies == [expected | {"hero": "LAT7", "strength": 0.8}]
    names = ["JOB0-0.png", "JOB0-1.png", "JOB0-2.png", "JOB0-sheet.png"]
    assert sorted(file.name for file in out.iterdir()) == names
    assert f"contact sheet {out / 'JOB0-sheet.png'}" in result.stdout
    assert "left out: sku" in result.stderr


def test_without_a_hero_the_service_makes_it_within_the_one_job(
    cascade: Cascade, service: ScriptedService, table: Path, tmp_path: Path
) -> None:
    arguments = ["--seed", "7", "--width", "512", "--json", "--out", str(tmp_path)]
    result = cascade("series", str(table), "--template", TEMPLATE, *arguments)
    assert result.exit_code == 0, result.output
    [series] = service.bodies
    assert series.keys() == {"kind", "template", "variants", "seed", "width"}
    job = json.loads(result.stdout)
    assert job["sheet"] == str(tmp_path / "JOB0-sheet.png")


@pytest.mark.parametrize(
    ("rows", "template", "message"),
    [
        ("product\nmug\n", TEMPLATE, "has no column 'colour'"),
        ("product,colour\n", TEMPLATE, "has no row below its titles"),
        ("", TEMPLATE, "has no column 'colour'"),
        ("product,colour\nmug,red\n", "a {colour", "at character 3"),
        ('product,colour\n"mug,red\n', TEMPLATE, "is no CSV file"),
        ("product,colour\n" + "mug,red\n" * 101, TEMPLATE, "has more than 100 rows"),
        ("product,colour\nmug," + "x" * 2000, TEMPLATE, "variants[0] makes a prompt of"),
        ("product,colour\nmug,red\n", "a mug", "template must hold a variable"),
        ("product,colour\nmug,red\n" + " " * MAX_TABLE_CHARS, TEMPLATE, "has more than 4194304"),
    ],
)
def test_a_table_that_does_not_fit_its_template_is_refused_before_a_job_is_made(
    cascade: Cascade,
    service: ScriptedService,
    tmp_path: Path,
    rows: str,
    template: str,
    message: str,
) -> None:
    file = tmp_path / "products.csv"
    file.write_text(rows)
    result = cascade("series", str(file), "--template", template)
    assert result.exit_code == 2
    assert message in result.stderr
    assert service.bodies == []


def test_a_table_in_another_encoding_or_nowhere_is_refused(
    cascade: Cascade, tmp_path: Path
) -> None:
    file = tmp_path / "products.csv"
    file.write_bytes("product,colour\nBär,röt\n".encode("latin-1"))
    assert "no CSV file in UTF-8" in cascade("series", str(file), "--template", TEMPLATE).stderr
    file.unlink()
    assert "cannot read" in cascade("series", str(file), "--template", TEMPLATE).stderr


def test_a_contact_sheet_shows_every_picture_in_its_order(tmp_path: Path) -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    files = []
    for number, colour in enumerate(colours):
        files.append(tmp_path / f"{number}.png")
        Image.new("RGB", (512, 256), colour).save(files[-1])
    data = contact_sheet(files, ["red", "x" * 200, "杯"])
    (tmp_path / "sheet.png").write_bytes(data)
    with Image.open(tmp_path / "sheet.png") as sheet:
        places = [(20, 20), (20 + CELL_PX, 20), (20, 50 + CELL_PX)]
        assert [sheet.getpixel(place) for place in places] == colours
        assert b"trainedAlgorithmicMedia" in sheet.info["xmp"]


def test_of_a_long_label_no_more_is_measured_than_can_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    getlength = ImageFont.FreeTypeFont.getlength

    def measure(font: ImageFont.FreeTypeFont, text: str) -> float:
        measured.append(text)
        return getlength(font, text)

    monkeypatch.setattr(ImageFont.FreeTypeFont, "getlength", measure)
    file = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(file)
    contact_sheet([file], ["x" * 1000])
    assert max(map(len, measured)) <= 100

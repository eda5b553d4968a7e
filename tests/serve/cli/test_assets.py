"""``cascade assets`` against the real gateway."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from tests.serve.cli.cascade import Cascade


def picture(cascade: Cascade, out: Path, n: int = 1) -> list[dict[str, Any]]:
    """Make pictures; returns each with its file."""
    line = ("generate", "a red circle", "--n", str(n), "--json", "--out", str(out))
    job = json.loads(told(cascade, *line))
    pairs = zip(job["images"], job["files"], strict=True)
    return [image | {"file": file} for image, file in pairs]


def told(cascade: Cascade, *line: str) -> str:
    result = cascade(*line)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_picture_is_submitted_by_its_file_approved_and_published(
    cascade_at_gateway: Cascade, tmp_path: Path
) -> None:
    (image,) = picture(cascade_at_gateway, tmp_path)
    image_id = image["id"]
    assert "submitted, version 1" in told(cascade_at_gateway, "assets", "submit", image["file"])
    line = ("assets", "approve", image_id, "--note", "fine", "--expected-version", "1")
    told(cascade_at_gateway, *line)
    told(cascade_at_gateway, "assets", "publish", image_id)
    listed = told(cascade_at_gateway, "assets", "--state", "published")
    assert image_id in listed
    assert "1 published" in listed
    shown = told(cascade_at_gateway, "assets", "show", image_id)
    assert "note: fine" in shown
    assert "you may: unpublish, archive" in shown
    events = json.loads(told(cascade_at_gateway, "assets", "history", image_id, "--json"))
    assert [event["action"] for event in events] == ["submit", "approve", "publish"]
    assert "fine" in told(cascade_at_gateway, "assets", "history", image_id)


def test_of_several_pictures_those_that_cannot_are_named(
    cascade_at_gateway: Cascade, tmp_path: Path
) -> None:
    first, second = (image["id"] for image in picture(cascade_at_gateway, tmp_path, n=2))
    told(cascade_at_gateway, "assets", "submit", first, second)
    told(cascade_at_gateway, "assets", "approve", first)
    result = cascade_at_gateway("assets", "approve", first, second)
    assert result.exit_code == 1
    assert f"{second} is approved" in result.stdout
    assert f"{first}: this asset is approved" in result.stderr
    assert "1 picture of 2 stayed as before" in result.stderr
    listed = json.loads(told(cascade_at_gateway, "assets", "--limit", "1", "--all", "--json"))
    assert {asset["id"] for asset in listed} == {first, second}


def test_a_decision_on_another_version_is_refused(
    cascade_at_gateway: Cascade, tmp_path: Path
) -> None:
    (image,) = picture(cascade_at_gateway, tmp_path)
    told(cascade_at_gateway, "assets", "submit", image["id"])
    result = cascade_at_gateway("assets", "approve", image["id"], "--expected-version", "0")
    assert (result.exit_code, "version 1" in result.stderr) == (2, True)


def test_comments_are_shown_with_their_place(cascade_at_gateway: Cascade, tmp_path: Path) -> None:
    (image,) = picture(cascade_at_gateway, tmp_path)
    told(cascade_at_gateway, "assets", "comment", image["id"], "too dark", "--at", "0.5,.25")
    shown = told(cascade_at_gateway, "assets", "show", image["file"])
    assert "comment by local at 0.5,0.25 (open): too dark" in shown


def test_pictures_are_exported_in_forms_with_their_manifest(
    cascade_at_gateway: Cascade, tmp_path: Path
) -> None:
    images = picture(cascade_at_gateway, tmp_path, n=2)
    out = tmp_path / "campaign.zip"
    forms = ("--preset", "link-card", "--originals", "--out", str(out))
    told_line = told(cascade_at_gateway, "assets", "export", images[0]["file"], *forms)
    assert "campaign.zip: 2 files" in told_line
    with ZipFile(out) as archive:
        listed = json.loads(archive.read("manifest.json"))["files"]
    assert {one["image_id"] for one in listed} == {images[0]["id"]}
    line = ("assets", "export", "--search", "circle", "--out", str(out), "--json")
    assert len(json.loads(told(cascade_at_gateway, *line))) == 2
    assert "link-card" in told(cascade_at_gateway, "assets", "export", "--list-presets")
    refused = cascade_at_gateway("assets", "export", images[0]["id"], "--preset", "nope")
    assert (refused.exit_code, "there is no preset nope" in refused.stderr) == (2, True)
    assert not list(tmp_path.glob("*.part"))


def test_purge_asks_and_erases(cascade_at_gateway: Cascade, tmp_path: Path) -> None:
    (image,) = picture(cascade_at_gateway, tmp_path)
    told(cascade_at_gateway, "assets", "submit", image["id"])
    assert cascade_at_gateway("assets", "purge", image["id"]).exit_code == 1  # no answer
    assert "submitted" in told(cascade_at_gateway, "assets", "show", image["id"])
    assert "is erased" in told(cascade_at_gateway, "assets", "purge", image["id"], "--yes")
    assert "no asset is found" in told(cascade_at_gateway, "assets")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("reject", "ID"), "reject needs a reason"),
        (("comment", "ID", "dark", "--at", "2,0"), "--at must be like 0.5,0.25"),
        (("approve", "A", "B", "--expected-version", "1"), "that of one picture"),
        (("show", "../keys"), "is not an id"),
        (("show", "ID"), "no such asset"),
        (("show", "missing.png"), "cannot read missing.png"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    cascade_at_gateway: Cascade, line: tuple[str, ...], message: str
) -> None:
    result = cascade_at_gateway("assets", *line)
    assert (result.exit_code, message in result.stderr) == (2, True), result.output

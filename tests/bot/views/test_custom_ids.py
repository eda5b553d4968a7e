"""The ids of buttons and forms."""

from __future__ import annotations

import pytest

from bot.views import custom_ids
from bot.views.custom_ids import CustomId
from tests.bot.conftest import JOB_ID


def test_an_id_survives_its_way_through_a_button() -> None:
    for given_id in (CustomId("vary", JOB_ID, "3"), CustomId("cancel", JOB_ID)):
        assert custom_ids.parse(str(given_id)) == given_id
        assert len(str(given_id)) <= 100
    assert CustomId("vary", JOB_ID, "3").index == 3
    assert CustomId("info", JOB_ID).index is None


@pytest.mark.parametrize(
    "text", ["v2:vary:X:0", "v1:unknown:X", "v1:vary", "v1:vary:a b", "v1:vary:X:0:1", ""]
)
def test_an_id_of_another_version_is_not_taken_for_one_of_ours(text: str) -> None:
    assert custom_ids.parse(text) is None
    assert custom_ids.is_ours(text) == text.startswith("v")


@pytest.mark.parametrize(
    "text",
    [f"v1:{name}:{JOB_ID}" for name in ("reroll", "info", "delete", "more", "cancel", "again")]
    + [f"v1:vary:{JOB_ID}:0", f"v1:edit:{JOB_ID}", f"v1:erase:{JOB_ID}:all", "v1:page:2"],
)
def test_buttons_of_messages_that_are_on_discord_already_keep_working(text: str) -> None:
    parsed = custom_ids.parse(text)
    assert parsed is not None
    assert str(parsed) == text
    assert not parsed.is_in_menu

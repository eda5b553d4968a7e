"""The handlers of buttons."""

from __future__ import annotations

from typing import Any, get_args

from bot.interactions.button_actions import ButtonActions
from bot.views import custom_ids


def test_every_action_of_an_id_can_be_done() -> None:
    nothing: Any = None
    actions = ButtonActions(nothing, nothing, nothing)
    assert set(get_args(custom_ids.Action)) == {*actions._handlers, *actions._forms}

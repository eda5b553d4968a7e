"""Discord's rules for components of messages and modals."""

from __future__ import annotations

from collections import Counter

from tests.wire.fake_discord.errors import ApiError, form_error
from tests.wire.fake_discord.messages import TEXT_DISPLAY, Json, media_of, walk

ROW, BUTTON, SELECT, TEXT_INPUT = 1, 2, 3, 4
SECTION, THUMBNAIL, GALLERY, FILE, SEPARATOR, CONTAINER, LABEL = 9, 11, 12, 13, 14, 17, 18
_SELECTS = {SELECT, 5, 6, 7, 8}
_LINK, _PREMIUM = 5, 6
_TOP_LEVEL_V2 = {ROW, SECTION, TEXT_DISPLAY, GALLERY, FILE, SEPARATOR, CONTAINER}
_IN_CONTAINER = _TOP_LEVEL_V2 - {CONTAINER}
_DEFAULTS: dict[int, Json] = {
    **{kind: {"min_values": 1, "max_values": 1} for kind in _SELECTS},
    THUMBNAIL: {"description": None, "spoiler": False},
    FILE: {"spoiler": False},
    SEPARATOR: {"spacing": 1, "divider": True},
    CONTAINER: {"accent_color": None, "spoiler": False},
}
_MAX_NODES, _MAX_ROWS, _MAX_IN_ROW, _MAX_TEXT, _MAX_ID = 40, 5, 5, 4000, 100


def check_message(components: list[Json], is_v2: bool) -> None:
    """Raise an ApiError if a message may not have these components."""
    nodes = list(walk(components))
    allowed = _TOP_LEVEL_V2 if is_v2 else {ROW}
    if any(component["type"] not in allowed for component in components):
        raise _bad(f'Value of field "type" must be one of {sorted(allowed)}.', "UNION_TYPE_CHOICES")
    if len(nodes) > _MAX_NODES or (not is_v2 and len(components) > _MAX_ROWS):
        raise _bad(f"Must be between 0 and {_MAX_NODES if is_v2 else _MAX_ROWS} in length.")
    if sum(len(node["content"]) for node in nodes if node["type"] == TEXT_DISPLAY) > _MAX_TEXT:
        raise _bad(f"Displayable text must be {_MAX_TEXT} or fewer in length.")
    _check_ids(nodes)
    for node in nodes:
        _check_node(node)


def check_modal(modal: Json) -> None:
    """Raise an ApiError if a modal may not look like this."""
    if not 1 <= len(modal.get("title") or "") <= 45:
        raise form_error("data.title", "Must be between 1 and 45 in length.")
    if not 1 <= len(modal.get("custom_id") or "") <= _MAX_ID:
        raise form_error("data.custom_id", "Must be between 1 and 100 in length.")
    if not 1 <= len(modal.get("components") or []) <= 5:
        raise form_error("data.components", "Must be between 1 and 5 in length.")
    nodes = list(walk(modal["components"]))
    _check_ids(nodes)
    for node in nodes:
        if node["type"] == TEXT_INPUT:
            _check_text_input(node)
        if node["type"] == LABEL and not 1 <= len(node.get("label") or "") <= 45:
            raise _bad("A label must be between 1 and 45 in length.")


def complete(components: list[Json]) -> None:
    """Give every component what Discord adds where the application left it out."""
    taken = {node["id"] for node in walk(components) if node.get("id")}
    free = (n for n in range(1, 1000) if n not in taken)
    for node in walk(components):
        for name, value in _DEFAULTS.get(node["type"], {}).items():
            node.setdefault(name, value)
        for item in node.get("items", []):
            item.setdefault("description", None)
            item.setdefault("spoiler", False)
        if not node.get("id"):
            node["id"] = next(free)
        emoji = node.get("emoji") or {}
        if "id" in emoji and emoji["id"] is None:
            del emoji["id"]  # Discord names no id for an emoji of Unicode


def _bad(message: str, code: str = "BASE_TYPE_BAD_LENGTH") -> ApiError:
    return form_error("components", message, code)


def _check_ids(nodes: list[Json]) -> None:
    names = [node["custom_id"] for node in nodes if "custom_id" in node]
    if any(not 1 <= len(name) <= _MAX_ID for name in names):
        raise _bad(f"Must be between 1 and {_MAX_ID} in length.")
    numbers = [node["id"] for node in nodes if node.get("id")]
    for values, what in ((names, "custom id"), (numbers, "id")):
        if any(count > 1 for count in Counter(values).values()):
            message = f"Component {what} cannot be duplicated"
            raise _bad(message, "COMPONENT_CUSTOM_ID_DUPLICATED")


def _check_node(node: Json) -> None:
    kind, children = node["type"], node.get("components") or []
    if kind == ROW:
        _check_row(children)
    elif kind == BUTTON:
        _check_button(node)
    elif kind in _SELECTS and len(node.get("options") or []) > 25:
        raise _bad("Must be 25 or fewer in length.")
    elif kind == TEXT_DISPLAY and not node["content"]:
        raise _bad("This field is required", "BASE_TYPE_REQUIRED")
    elif kind == SECTION and not (1 <= len(children) <= 3 and "accessory" in node):
        raise _bad("A section has one to three texts and an accessory.")
    elif kind == GALLERY and not 1 <= len(node.get("items") or []) <= 10:
        raise _bad("Must be between 1 and 10 in length.")
    elif kind == CONTAINER and any(c["type"] not in _IN_CONTAINER for c in children):
        raise _bad("This component cannot be in a container.", "UNION_TYPE_CHOICES")
    for item in node.get("items", []):
        if len(item.get("description") or "") > 1024:
            raise _bad("Must be 1024 or fewer in length.")


def _check_row(children: list[Json]) -> None:
    selects = sum(child["type"] in _SELECTS for child in children)
    if not 1 <= len(children) <= _MAX_IN_ROW or (selects and len(children) > 1):
        raise _bad(f"Must be between 1 and {_MAX_IN_ROW} in length.")
    if any(child["type"] not in _SELECTS | {BUTTON} for child in children):
        raise _bad("This component cannot be in a row.", "UNION_TYPE_CHOICES")


def _check_button(button: Json) -> None:
    if len(button.get("label") or "") > 80:
        raise _bad("Must be 80 or fewer in length.")
    if not (button.get("label") or button.get("emoji") or button["style"] == _PREMIUM):
        raise _bad("A button needs a label or an emoji.", "BASE_TYPE_REQUIRED")
    wanted = {_LINK: "url", _PREMIUM: "sku_id"}.get(button["style"], "custom_id")
    if not button.get(wanted):
        raise _bad(f"A button of this style needs {wanted}.", "BASE_TYPE_REQUIRED")


def _check_text_input(field: Json) -> None:
    longest = field.get("max_length") or _MAX_TEXT
    if len(field.get("value") or "") > longest or longest > _MAX_TEXT:
        raise _bad(f"Must be {_MAX_TEXT} or fewer in length.")
    if len(field.get("placeholder") or "") > 100:
        raise _bad("Must be 100 or fewer in length.")


def check_media(components: list[Json], filenames: set[str]) -> None:
    """Raise an ApiError if a component shows an attachment that the message does not have."""
    for media in (m for node in walk(components) for m in media_of(node)):
        name = media.get("url", "").removeprefix("attachment://")
        if media.get("url", "").startswith("attachment://") and name not in filenames:
            message = f"The referenced attachment was not found: {media['url']}"
            code = "UNFURLED_MEDIA_ITEM_REFERENCED_ATTACHMENT_NOT_FOUND"
            raise _bad(message, code)

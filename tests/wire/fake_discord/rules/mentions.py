"""The mentions in a message's text, as far as the application allows them."""

from __future__ import annotations

import re

from tests.wire.fake_discord.messages import Json

_CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)  # code mentions no user
_MENTIONS = {
    "users": re.compile(r"(?<!\\)<@!?(\d+)>"),
    "roles": re.compile(r"(?<!\\)<@&(\d+)>"),
    "everyone": re.compile(r"(?<!\\)@(everyone|here)\b"),
}


def called_by(text: str, payload: Json) -> set[str]:
    """Return the ids of those a message calls, or ``everyone`` and ``here``.

    Without ``allowed_mentions`` every mention calls.
    """
    plain = _CODE.sub("", text)
    allowed = payload.get("allowed_mentions")
    called: set[str] = set()
    for kind, pattern in _MENTIONS.items():
        found = set(pattern.findall(plain))
        if allowed is not None and kind not in (allowed.get("parse") or []):
            found &= {str(one) for one in allowed.get(kind) or []}
        called |= found
    return called

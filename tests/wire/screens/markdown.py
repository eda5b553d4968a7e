"""What Discord makes of a message's words: the part of its markdown that the bot uses, as HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import cycle

_UNITS_S = ((86400, "day", "Tag"), (3600, "hour", "Stunde"), (60, "minute", "Minute"))
_TOKEN = re.compile(
    r"\\(?P<escaped>[^\w\s])"
    r"|\*\*(?P<bold>(?:\\.|[^\\])+?)\*\*"
    r"|\*(?P<italic>(?:\\.|[^\\*])+?)\*"
    r"|`(?P<code>[^`]+)`"
    r"|\|\|(?P<spoiler>.+?)\|\|"
    r"|\[(?P<label>[^\]]+)\]\((?P<url>\S+?)\)"
    r"|<t:(?P<time_s>\d+):(?P<style>[Rf])>"
    r"|<#(?P<channel>\d+)>"
    r"|<@(?P<user>\d+)>"
)


class Markdown:
    """Turns text into HTML as one client shows it at one moment.

    Args:
        now_s: seconds since 1970.
        locale: of the client; times are told in German or in English.
        channels, users: names by id.
    """

    def __init__(
        self, now_s: float, locale: str, channels: dict[str, str], users: dict[str, str]
    ) -> None:
        self._now_s = now_s
        self._is_german = locale.startswith("de")
        self._channels = channels
        self._users = users

    def __call__(self, text: str) -> str:
        """Return the lines as HTML."""
        parts = text.split("```")
        return "".join(
            f"<pre>{html.escape(part.strip())}</pre>" if is_code else self._lines(part)
            for part, is_code in zip(parts, cycle((False, True)))
        )

    def _lines(self, text: str) -> str:
        return "".join(map(self._line, text.strip("\n").splitlines()))

    def _line(self, line: str) -> str:
        for mark, tag in (("### ", "h3"), ("-# ", "small")):
            if line.startswith(mark):
                return f"<{tag}>{self._inline(line.removeprefix(mark))}</{tag}>"
        return f"<p>{self._inline(line)}</p>"

    def _inline(self, text: str) -> str:
        shown, end = [], 0
        for found in _TOKEN.finditer(text):
            shown += [html.escape(text[end : found.start()]), self._token(found)]
            end = found.end()
        return "".join([*shown, html.escape(text[end:])])

    def _token(self, found: re.Match[str]) -> str:
        kind = found.lastgroup or ""
        show: dict[str, Callable[[], str]] = {
            "escaped": lambda: html.escape(found["escaped"]),
            "bold": lambda: f"<b>{self._inline(found['bold'])}</b>",
            "italic": lambda: f"<i>{self._inline(found['italic'])}</i>",
            "code": lambda: f"<code>{html.escape(found['code'])}</code>",
            "spoiler": lambda: f"<span class=spoiler>{self._inline(found['spoiler'])}</span>",
            "url": lambda: f"<a>{self._inline(found['label'])}</a>",
            "style": lambda: f"<time>{self._time(int(found['time_s']), found['style'])}</time>",
            "channel": lambda: f"<span class=mention>#{self._channels[found['channel']]}</span>",
            "user": lambda: f"<span class=mention>@{self._users[found['user']]}</span>",
        }
        return show[kind]()

    def _time(self, at_s: int, style: str) -> str:
        if style == "f":
            at = datetime.fromtimestamp(at_s, UTC)
            return f"{at:%-d. %m. %Y %H:%M}" if self._is_german else f"{at:%-d %B %Y %H:%M}"
        away_s = round(at_s - self._now_s)
        length = (1, "second", "Sekunde")
        length = next((unit for unit in _UNITS_S if abs(away_s) >= unit[0]), length)
        count = round(abs(away_s) / length[0])
        if self._is_german:
            name = length[2] + ("" if count == 1 else "en" if length[2] == "Tag" else "n")
            return f"in {count} {name}" if away_s >= 0 else f"vor {count} {name}"
        name = length[1] + ("" if count == 1 else "s")
        return f"in {count} {name}" if away_s >= 0 else f"{count} {name} ago"

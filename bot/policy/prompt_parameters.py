"""Finds parameters of other bots inside a prompt (``--ar 16:9``); here they are options.

A word is a parameter if it begins with two hyphens at the start of a text or after a space. Phones
turn two hyphens into a dash, but prose has dashes, too. After a dash, only the parameter names of
other bots count.
"""

from __future__ import annotations

import re

from bot.text.catalog import Translator
from bot.text.error_messages import UserError

_FOUND = re.compile(r"(?<!\S)(--|[—–])([A-Za-z][\w-]*)")  # noqa: RUF001
_GIVEN_CHARS = 20
_OPTIONS = {
    "aspect": "ar aspect w width h height",
    "negative": "no neg negative",
    "seed": "seed sameseed",
    "steps": "steps",
    "guidance": "cfg guidance scale",
    "count": "n count repeat r",
    "spoiler": "spoiler",
    "private": "private stealth",
}
_OPTION_OF = {name: option for option, names in _OPTIONS.items() for name in names.split()}
_OF_OTHERS = frozenset(
    {"c", "chaos", "cref", "cw", "draft", "exp", "fast", "hd", "iw", "niji", "oref", "ow", "p"}
    | {"personalize", "profile", "q", "quality", "raw", "relax", "s", "sref", "stop", "style"}
    | {"stylize", "sv", "sw", "tile", "turbo", "v", "version", "video", "weird"}
)


def check_parameters(translate: Translator, *texts: str) -> None:
    """Check that prompts contain no parameter, which the model would draw into the picture.

    Raises:
        UserError: names the first parameter, and the option of ``/imagine`` that replaces it.
    """
    for text in texts:
        for found in _FOUND.finditer(text):
            name = found[2].lower()
            if found[1] != "--" and name not in _OPTION_OF and name not in _OF_OTHERS:
                continue
            given = f"--{found[2][:_GIVEN_CHARS]}"
            option = _OPTION_OF.get(name)
            if option is None:
                raise UserError.because("unknown_parameter", given=given)
            said = translate.find(f"command.imagine.{option}.name") or option
            raise UserError.because("parameter", given=given, option=said)

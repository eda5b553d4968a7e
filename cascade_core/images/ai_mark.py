"""The mark in every picture file that says it was made by a model: XMP as IPTC defines it.

It holds the kind of source (IPTC NewsCodes "digitalsourcetype") and, where known, the system and
its version (IPTC Photo Metadata Standard 2025.1). It names no prompt and no person.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape
from typing import Final
from xml.sax.saxutils import quoteattr

SOURCE_TYPE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""Made by a model alone; IPTC's word for it."""
PNG_KEY: Final = "XML:com.adobe.xmp"
"""Of the iTXt chunk with XMP in a PNG file."""

_IPTC: Final = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_PACKET: Final = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    f'<rdf:RDF xmlns:rdf="{_RDF}"><rdf:Description rdf:about="" xmlns:Iptc4xmpExt="{_IPTC}" '
    "{fields}/></rdf:RDF></x:xmpmeta>"
    '<?xpacket end="r"?>'
)
_MAX_CHARS: Final = 64 * 1024
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class AiMark:
    """What made a picture.

    Attributes:
        system: the model's id; empty: unknown.
        version: the model's revision; empty: unknown.
    """

    system: str = ""
    version: str = ""

    def packet(self) -> str:
        """Return the XMP packet of a file with this mark."""
        fields = {
            "DigitalSourceType": SOURCE_TYPE,
            "AISystemUsed": self.system,
            "AISystemVersionUsed": self.version,
        }
        text = " ".join(
            f"Iptc4xmpExt:{name}={quoteattr(_UNPRINTABLE.sub(' ', value))}"
            for name, value in fields.items()
            if value
        )
        return _PACKET.format(fields=text)


def read_mark(packet: str) -> AiMark | None:
    """Return the mark in a packet of :meth:`AiMark.packet`; None if it has none, or another's."""
    if f'DigitalSourceType="{SOURCE_TYPE}"' not in packet[:_MAX_CHARS]:
        return None
    return AiMark(_field(packet, "AISystemUsed"), _field(packet, "AISystemVersionUsed"))


def _field(packet: str, name: str) -> str:
    found = re.search(rf"Iptc4xmpExt:{name}=(\"[^\"<]*\"|'[^'<]*')", packet[:_MAX_CHARS])
    return unescape(found[1][1:-1]) if found else ""

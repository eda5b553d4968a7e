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
_MAX_SHOWN_CHARS: Final = 256
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


@dataclass(frozen=True, slots=True)
class SourceMark:
    """What XMP of any program says of a picture's source; texts are the file's own.

    Attributes:
        source_type: IPTC's word for the kind of source.
        system, version: what made it; empty: not said.
    """

    source_type: str
    system: str = ""
    version: str = ""


def read_source(packet: str) -> SourceMark | None:
    """Return what a packet says of the picture's source; None if it says nothing."""
    names = ("DigitalSourceType", "AISystemUsed", "AISystemVersionUsed")
    source_type, *rest = (_shown(_field(packet, name)) for name in names)
    return SourceMark(source_type, *rest) if source_type else None


def read_mark(packet: str) -> AiMark | None:
    """Return the mark in a packet of :meth:`AiMark.packet`; None if it has none, or another's."""
    if f'DigitalSourceType="{SOURCE_TYPE}"' not in packet[:_MAX_CHARS]:
        return None
    return AiMark(_field(packet, "AISystemUsed"), _field(packet, "AISystemVersionUsed"))


def _field(packet: str, name: str) -> str:
    """Return a property's value, which may be an attribute, a resource or a text."""
    packet, quoted = packet[:_MAX_CHARS], r"(\"[^\"<]*\"|'[^'<]*')"
    for form in (rf"Iptc4xmpExt:{name}={quoted}", rf"<Iptc4xmpExt:{name} rdf:resource={quoted}"):
        if found := re.search(form, packet):
            return unescape(found[1][1:-1])
    found = re.search(rf"<Iptc4xmpExt:{name}>([^<]*)<", packet)
    return unescape(found[1].strip()) if found else ""


def _shown(value: str) -> str:
    return _UNPRINTABLE.sub(" ", value)[:_MAX_SHOWN_CHARS]

"""What signing adds to a picture of 1024 px: time and bytes; and how long verifying takes.

    python -m bench.provenance.signing

The baseline of each row, in the same turns: the unsigned file, written or converted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, Final

from bench.engine.png import photo
from bench.provenance.files import FORMATS, SignedFile, Signing, bare, copy_of
from bench.stats import machine, milliseconds, summary, write_result
from cascade_core.images.pixels import Rgb
from cascade_core.operations.fields import ImageFormat
from serve.provenance.credentials import CredentialReader
from serve.provenance.statements import PictureFile

SIDE_PX: Final = 1024
TARGET_MS: Final = 20.0
MOST_BYTES: Final = {"new": 4096, "variation": 15 * 1024, "rendition": 15 * 1024}


def main() -> None:
    """Sign pictures of each format and kind, check that they verify, and write the result."""
    where, repeats, pixels_hwc = machine(), _arguments().repeats, photo(SIDE_PX)
    signing = Signing()
    reader = CredentialReader(signing.authority_pem)
    stored = signing.new(bare(pixels_hwc, "png")).signed
    rows: dict[str, Any] = {}
    for image_format in FORMATS:
        for kind, (write, sign) in _kinds(signing, pixels_hwc, stored, image_format).items():
            rows[f"{image_format}, {kind}"] = _measured(write, sign, reader, repeats)
    write_result("signing", {"machine": where, "rows": rows}, _table(rows))


Write = Callable[[], PictureFile]
Sign = Callable[[PictureFile], SignedFile]


def _kinds(
    signing: Signing, pixels_hwc: Rgb, stored: PictureFile, image_format: ImageFormat
) -> dict[str, tuple[Write, Sign]]:
    """Return how the file of each kind is written, and how it is signed."""

    def write() -> PictureFile:
        return bare(pixels_hwc, image_format)

    def convert() -> PictureFile:
        return copy_of(stored, image_format)

    return {
        "new": (write, signing.new),
        "variation": (write, lambda picture: signing.variation(picture, stored)),
        "rendition": (convert, lambda picture: signing.rendition(picture, stored)),
    }


def _measured(write: Write, sign: Sign, reader: CredentialReader, repeats: int) -> dict[str, Any]:
    times_s: dict[str, list[float]] = {"write_s": [], "sign_s": [], "verify_s": []}
    for _ in range(repeats):
        begun_s = time.perf_counter()
        picture = write()
        written_s = time.perf_counter()
        file = sign(picture)
        signed_s = time.perf_counter()
        found = reader.read(file.signed.data, file.signed.media_type)
        times_s["verify_s"].append(time.perf_counter() - signed_s)
        times_s["sign_s"].append(signed_s - written_s)
        times_s["write_s"].append(written_s - begun_s)
        if found.state != "trusted":
            raise RuntimeError(f"a signed file does not verify: {found.codes}")
    shown = {name: summary(samples) for name, samples in times_s.items()}
    return shown | {"bytes": len(file.unsigned.data), "growth_bytes": file.growth_bytes}


def _table(rows: dict[str, Any]) -> str:
    lines = [
        f"| {SIDE_PX} px | unsigned | written | signing adds | bytes added | verified |",
        "|---" * 6 + "|",
    ]
    for name, row in rows.items():
        written, signed, verified = (
            milliseconds(row[part]) for part in ("write_s", "sign_s", "verify_s")
        )
        size = f"{row['bytes'] / 1e3:.0f} KB"
        growth = f"{row['growth_bytes']:,}"
        lines.append(f"| {name} | {size} | {written} | {signed} | {growth} | {verified} |")
    most = ", ".join(f"{kind} {most_bytes:,}" for kind, most_bytes in MOST_BYTES.items())
    lines += [
        "",
        f"Targets: {TARGET_MS:.0f} ms for signing; bytes added: {most}. A photo-like picture; the "
        "source of variations and renditions is a signed PNG file of the same size. A key in a "
        "file (ES256), no time stamps. What each file says is checked in each turn.",
    ]
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.provenance.signing", description=__doc__)
    parser.add_argument("--repeats", type=int, default=30, help="of each row")
    return parser.parse_args()


if __name__ == "__main__":
    main()

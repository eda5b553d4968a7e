"""The files of the page, each at an address that changes with any of them."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path, PurePosixPath

STATIC = Path(__file__).parent / "static"
PAGE = "/studio"
ASSETS = f"{PAGE}/assets"
PREACT = "vendor/preact.js"
"""What :mod:`serve.studio.install_preact` installs."""
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
"""By suffix. Files of other kinds have no address: templates, licences."""
WITHOUT_PREACT = (
    "the studio page is not served, as Preact, its JavaScript library, is not installed: run "
    "'make install' with the npm registry in reach, then start the service again"
)
_STYLES = "styles/"
_DIGEST_DIGITS = 12


class StudioFiles:
    """The page and its files as they are in a folder now; later changes are not seen.

    Args:
        folder: holds ``index.html``, the page, and ``unavailable.html``, which stands in for it
            where Preact is missing. In both, ``{assets}`` becomes the address of the files and
            ``{styles}`` the links to all of ``styles/``, ordered by name.

    Attributes:
        digest: the first 12 hexadecimal digits of a SHA-256 over all names and contents.
        problem: one sentence that says why there is no page; empty if there is one.
        page: the HTML that each address of the page answers with.
    """

    def __init__(self, folder: Path = STATIC) -> None:
        paths = (path for path in folder.rglob("*") if path.is_file())
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        self._assets = {
            name: content
            for name, content in sorted(files.items())
            if PurePosixPath(name).suffix in MEDIA_TYPES
        }
        self.digest = _digest(files)
        self.problem = "" if PREACT in files else WITHOUT_PREACT
        self.page = self._filled_in(
            files["unavailable.html" if self.problem else "index.html"].decode()
        )

    def asset(self, digest: str, name: str) -> tuple[bytes, str] | None:
        """Return a file's content and media type.

        None means that there is no such file, or that the digest is that of other files: modules
        of two releases would not fit each other.
        """
        content = self._assets.get(name) if digest == self.digest else None
        return None if content is None else (content, MEDIA_TYPES[PurePosixPath(name).suffix])

    def _filled_in(self, template: str) -> str:
        address = f"{ASSETS}/{self.digest}"
        links = (
            f'<link rel="stylesheet" href="{address}/{name}">'
            for name in self._assets
            if name.startswith(_STYLES)
        )
        return template.replace("{styles}", "\n".join(links)).replace("{assets}", address)


@cache
def studio_files() -> StudioFiles:
    """Return the files of this installation, read once a process."""
    return StudioFiles()


def _digest(files: dict[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name, content in sorted(files.items()):
        whole.update(f"{name}\n{len(content)}\n".encode())
        whole.update(content)
    return whole.hexdigest()[:_DIGEST_DIGITS]

"""The files of the page, each at an address that changes with any of them."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable
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
SCRIPT = "app.js"
FIRST_VIEW = "create"
_STYLES = "styles/"
_IMPORT = re.compile(
    r"""^(?:import|export)\s+(?:[\w\s{},*]+\sfrom\s+)?["'](\.{1,2}/[^"']+)["']""", re.MULTILINE
)
"""Of a module that is loaded with this one; those that are loaded later are ``import()``."""
_DIGEST_DIGITS = 12


class StudioFiles:
    """The page and its files as they are in a folder now; later changes are not seen.

    Args:
        folder: holds ``index.html``, the page, and ``unavailable.html``, which stands in for it
            where Preact is missing. In both, ``{assets}`` becomes the address of the files,
            ``{styles}`` the links to all of ``styles/``, ordered by name, and ``{modules}`` those
            to the modules that a view begins with.

    Attributes:
        digest: the first 12 hexadecimal digits of a SHA-256 over all names and contents.
        problem: one sentence that says why there is no page; empty if there is one.
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
        template = files["unavailable.html" if self.problem else "index.html"].decode()
        views = {name.partition("/")[0] for name in self._assets}
        self._pages = {view: self._filled_in(template, view) for view in views}
        self._other_page = self._filled_in(template, "")

    def asset(self, digest: str, name: str) -> tuple[bytes, str] | None:
        """Return a file's content and media type.

        None means that there is no such file, or that the digest is that of other files: modules
        of two releases would not fit each other.
        """
        content = self._assets.get(name) if digest == self.digest else None
        return None if content is None else (content, MEDIA_TYPES[PurePosixPath(name).suffix])

    def page(self, view: str = "") -> str:
        """Return the HTML that an address of the page answers with.

        Args:
            view: the address below :data:`PAGE`. A browser is told of its view's modules at once:
                it would find them one after the other, as each module names the next ones. It is
                told of the frame's modules alone where no module is named after the address.
        """
        page = self._pages.get(view.partition("/")[0] or FIRST_VIEW, self._other_page)
        return page.replace("{assets}", f"{ASSETS}/{self.digest}")

    def _filled_in(self, template: str, view: str) -> str:
        styles = (name for name in self._assets if name.startswith(_STYLES))
        of_all_views = self.modules(SCRIPT) - {SCRIPT}
        of_this_one = self.modules(f"{view}/{view}.js") - of_all_views
        # The frame is drawn before the view in it.
        modules = (
            self._links('rel="modulepreload"', of_all_views),
            self._links('rel="modulepreload" fetchpriority="low"', of_this_one),
        )
        filled_in = template.replace("{styles}", self._links('rel="stylesheet"', styles))
        return filled_in.replace("{modules}", "\n".join(filter(None, modules)))

    def modules(self, *names: str) -> set[str]:
        """Return those of the modules that are there, with all that is loaded with them."""
        found: set[str] = set()
        left = list(names)
        while left:
            name = left.pop()
            if name in self._assets and name not in found:
                found.add(name)
                left += imported(name, self._assets[name].decode())
        return found

    def _links(self, kind: str, names: Iterable[str]) -> str:
        return "\n".join(f'<link {kind} href="{{assets}}/{name}">' for name in sorted(names))


def imported(module: str, source: str) -> list[str]:
    """Return the names of the files that a module is loaded with."""
    folder = posixpath.dirname(module)
    return [posixpath.normpath(posixpath.join(folder, to)) for to in _IMPORT.findall(source)]


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

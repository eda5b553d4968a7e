"""Which web page a browser's request comes from: only the service's own pages may use a cookie.

Browsers name the page in ``Sec-Fetch-Site`` (to https and this machine only) and ``Origin``. Other
ports of the same host are other origins: cookies ignore ports, so the rule may not.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers

from cascade_core.errors import CrossOrigin

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def foreign_header(headers: Headers, public_url: str = "") -> str | None:
    """Return the header by which a request comes from another site's page; None if none does.

    Args:
        headers: of the request.
        public_url: the address by which clients reach the service, if it is set.
    """
    if not set(headers.getlist("sec-fetch-site")) <= {"none", "same-origin"}:
        return "sec-fetch-site"
    own = {headers.get("host", "").lower(), urlsplit(public_url).netloc.lower()} - {""}
    for origin in headers.getlist("origin"):
        if origin.lower().partition("://")[2] not in own:
            return "origin"
    return None


def check_own_page(method: str, headers: Headers, public_url: str = "") -> None:
    """Check that a request with a cookie comes from a page of this service.

    Args:
        method: of the request; one that changes nothing may come without either header.
        headers: of the request.
        public_url: the address by which clients reach the service, if it is set.

    Raises:
        CrossOrigin: it comes from another page, or does not say from which.
    """
    header = foreign_header(headers, public_url)
    if header is not None:
        raise CrossOrigin(f"the header {header} says that this request comes from another site")
    if method in SAFE_METHODS:
        return
    if "same-origin" not in headers.getlist("sec-fetch-site") and "origin" not in headers:
        raise CrossOrigin(
            "a request with a session's cookie must say that it comes from a page of this service; "
            "programs send an API key as 'Authorization: Bearer csk_...'"
        )

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
    host = headers.get("host", "").lower()
    if not all(_is_own(origin, host, public_url) for origin in headers.getlist("origin")):
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


def _is_own(origin: str, host: str, public_url: str) -> bool:
    """Return True if an origin is the service's own.

    Behind a proxy the service sees http where clients use https. So only the public address says
    which of them is right; another machine in the network can pretend to be its http page.
    """
    scheme, _, netloc = origin.lower().partition("://")
    public = urlsplit(public_url.lower())
    if netloc and netloc == public.netloc:
        return scheme == public.scheme
    return bool(netloc) and netloc == host

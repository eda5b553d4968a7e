"""Which pages may have a browser send a session's cookie."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from cascade_core.errors import CrossOrigin
from serve.gateway.auth.same_origin import check_own_page

HOST = "studio.example:8000"
OWN = [
    ("GET", {}),
    ("GET", {"sec-fetch-site": "none"}),
    ("GET", {"sec-fetch-site": "same-origin"}),
    ("GET", {"origin": f"http://{HOST}"}),
    ("POST", {"sec-fetch-site": "same-origin"}),
    ("POST", {"sec-fetch-site": "same-origin", "origin": f"https://{HOST}"}),
    ("POST", {"origin": f"http://{HOST.upper()}"}),
    ("DELETE", {"origin": "https://public.example"}),
]
OTHERS = [
    ("POST", {}),
    ("POST", {"sec-fetch-site": "none"}),
    *(
        (method, headers)
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "PROPFIND")
        for headers in (
            {"sec-fetch-site": "same-site"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-origin", "origin": "https://evil.example"},
            {"sec-fetch-site": "cross-site", "origin": f"http://{HOST}"},
            {"origin": "http://public.example"},
            {"origin": "http://studio.example"},
            {"origin": "http://studio.example:9000"},
            {"origin": "http://studio.example:8000.evil.example"},
            {"origin": "null"},
            {"origin": ""},
        )
    ),
]


def check(method: str, headers: dict[str, str]) -> None:
    check_own_page(method, Headers({"host": HOST} | headers), "https://public.example/base")


@pytest.mark.parametrize(("method", "headers"), OWN)
def test_the_services_own_pages_may(method: str, headers: dict[str, str]) -> None:
    check(method, headers)


@pytest.mark.parametrize(("method", "headers"), OTHERS)
def test_no_other_page_may(method: str, headers: dict[str, str]) -> None:
    with pytest.raises(CrossOrigin):
        check(method, headers)


def test_a_second_header_that_names_another_page_is_seen() -> None:
    twice = [(b"sec-fetch-site", b"same-origin"), (b"sec-fetch-site", b"cross-site")]
    with pytest.raises(CrossOrigin):
        check_own_page("POST", Headers(raw=[(b"host", HOST.encode()), *twice]))

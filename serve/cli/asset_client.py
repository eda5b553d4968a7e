"""The part of the HTTP API's client that is about assets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx

from serve.cli.client import ServiceClient, path_segment
from serve.cli.output import CliError, ExitCode


class AssetClient(ServiceClient):
    """A connection to one service, see :class:`ServiceClient`."""

    def assets(self, state: str | None, cursor: str | None, limit: int) -> dict[str, Any]:
        """Return a page of assets, perhaps of one state, with the counts of all states."""
        given = {"state": state, "cursor": cursor, "limit": str(limit)}
        params = {name: value for name, value in given.items() if value is not None}
        return self._json("GET", "/v1/assets", params=params)

    def asset(self, image_id: str) -> dict[str, Any]:
        """Return an asset."""
        return self._json("GET", _path(image_id))

    def change_asset(self, image_id: str, body: dict[str, object]) -> dict[str, Any]:
        """Lead an asset to its next state, and return it."""
        return self._json("POST", f"{_path(image_id)}/transitions", json=body)

    def change_assets(self, body: dict[str, object]) -> list[dict[str, Any]]:
        """Do the same with several assets; returns what became of each."""
        return list(self._json("POST", "/v1/assets/transitions", json=body)["results"])

    def history(self, image_id: str) -> list[dict[str, Any]]:
        """Return what was done with an asset, oldest first."""
        return list(self._json("GET", f"{_path(image_id)}/history")["events"])

    def comments(self, image_id: str) -> list[dict[str, Any]]:
        """Return the comments on an asset, oldest first."""
        return list(self._json("GET", f"{_path(image_id)}/comments")["comments"])

    def comment(self, image_id: str, body: dict[str, object]) -> dict[str, Any]:
        """Comment on an asset, and return the comment."""
        return self._json("POST", f"{_path(image_id)}/comments", json=body)

    def export(self, body: dict[str, object]) -> Iterator[bytes]:
        """Yield the pieces of an archive of pictures.

        Raises:
            CliError: the service does not answer, or the connection breaks.
        """
        try:
            with self._stream("/v1/exports", body=body) as answer:
                yield from answer.iter_raw()
        except httpx.TransportError as error:
            raise CliError("the archive ended early", ExitCode.FAILED, "again later") from error

    def export_presets(self) -> list[dict[str, Any]]:
        """Return the presets of exports, by name."""
        return list(self._json("GET", "/v1/exports/presets")["presets"])

    def purge_asset(self, image_id: str) -> None:
        """Erase an asset with its picture."""
        self._send("DELETE", _path(image_id))


def _path(image_id: str) -> str:
    return f"/v1/assets/{path_segment(image_id)}"

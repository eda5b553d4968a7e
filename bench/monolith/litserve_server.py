"""LitServe around diffusers' pipeline: ``python -m bench.monolith.litserve_server FOLDER PORT``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import litserve
from PIL import Image
from starlette.responses import Response

from bench.monolith.models import DiffusersPipeline
from bench.monolith.peers import BATCH_WAIT_S, MOST_TOGETHER, png


class PictureApi(litserve.LitAPI):  # type: ignore[misc]
    """Draws the requests that arrive together in batches."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            max_batch_size=MOST_TOGETHER, batch_timeout=BATCH_WAIT_S, api_path="/predict"
        )
        self._folder = folder

    def setup(self, _device: str) -> None:
        """Load the model."""
        self._pipeline = DiffusersPipeline(self._folder)

    def batch(self, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the bodies as they are."""
        return bodies

    def predict(self, bodies: list[dict[str, Any]]) -> list[Image.Image]:
        """Return a picture for each body."""
        return self._pipeline.draw(bodies)

    def unbatch(self, pictures: list[Image.Image]) -> list[Image.Image]:
        """Return the pictures as they are."""
        return pictures

    def encode_response(self, picture: Image.Image) -> Response:
        """Return a picture as a PNG."""
        return Response(png(picture), media_type="image/png")


def main() -> None:
    """Serve until the process is terminated."""
    folder, port = sys.argv[1:]
    server = litserve.LitServer(
        PictureApi(Path(folder)), accelerator="cpu", workers_per_device=1, timeout=False
    )
    server.run(host="127.0.0.1", port=int(port), log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()

"""Run the benchmarks that take a few minutes at most: ``python -m bench``."""

from __future__ import annotations

from bench import readme
from bench.engine import engine, forward, handoff, png
from bench.provenance import signing
from bench.service import acks, api, backlog, durability, service, streams

if __name__ == "__main__":
    handoff.main()
    png.main()
    signing.main()
    forward.main()
    engine.main()
    service.main()
    api.main()
    durability.main()
    backlog.main()
    streams.main()
    acks.main()
    readme.update()

"""Run every benchmark: ``python -m bench``."""

from __future__ import annotations

from bench import handoff, readme, service

if __name__ == "__main__":
    handoff.main()
    service.main()
    readme.update_readme()

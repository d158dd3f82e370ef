"""``python -m glassgrad``."""

from __future__ import annotations

from glassgrad.cli.main import run

if __name__ == "__main__":
    raise SystemExit(run())

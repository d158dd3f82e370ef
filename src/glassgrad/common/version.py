"""The version: the build reads it here, and so does everything else."""

from __future__ import annotations

__version__ = "0.1.0"

"""Glassgrad."""

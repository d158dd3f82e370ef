"""Puts this folder on the import path, so that tests share helpers: ``from backends.runners import RUNNERS``."""

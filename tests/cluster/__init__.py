"""Tests on a real Ray."""

from tests.cluster import settings

__all__ = ["settings"]

"""Tests of `rayorch.capacity`."""

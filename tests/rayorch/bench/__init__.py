"""Tests of `rayorch.bench`."""

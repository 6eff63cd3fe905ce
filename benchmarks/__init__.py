"""Measured claims: each a pair of runs on the same machine, with ratio and spread."""

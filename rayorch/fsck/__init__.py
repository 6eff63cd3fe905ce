"""Is all that a home keeps what was written, and what can be mended."""

"""The numbered, append-only log of decisions and commits on an object store."""

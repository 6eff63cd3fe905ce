"""One attempt: read, apply, check, write, report."""

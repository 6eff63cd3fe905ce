"""Metrics and structured logs, folded from events."""

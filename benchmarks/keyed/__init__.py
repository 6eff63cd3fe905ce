"""Grouped, joined and sorted data: inputs, jobs and how each side does them."""

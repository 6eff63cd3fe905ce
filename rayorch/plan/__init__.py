"""From a program and what its sources hold to stages and tasks."""

"""What the world sees of the machine: views, metrics, logs. All of it is folded from events."""

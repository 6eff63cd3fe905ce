"""The same core on a simulated clock, cluster and store."""

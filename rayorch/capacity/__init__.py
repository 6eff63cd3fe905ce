"""What a workload needs, costs and takes: the real scheduler and solver on simulated machines."""

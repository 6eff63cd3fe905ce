"""The command line: one file per command group, which parses and prints, nothing else."""

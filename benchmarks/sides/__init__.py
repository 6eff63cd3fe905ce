"""The sides of a comparison; each module is the program of one, started by `benchmarks.driver`."""

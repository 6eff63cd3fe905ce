"""The workloads; `WORKLOADS` of `benchmarks.workloads.table` names them all."""

"""The whole service on one machine: Ray's head, MLflow's server and its own process.

`serve` is what `hpsearch serve` runs; `processes` starts the others and restarts them. None of
them outlives the service (`parent`).
"""

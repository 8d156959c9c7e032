"""The whole service on one machine: Ray's head, MLflow's server and its own process."""

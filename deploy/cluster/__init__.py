"""What compose.yaml describes, as processes of one machine: see deploy/local-cluster."""

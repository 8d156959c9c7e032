"""What `benchmarks.fusion` measures."""

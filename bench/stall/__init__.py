"""What one request does to everybody else: models, rows, the probe, and the run (`python -m bench.stall`)."""

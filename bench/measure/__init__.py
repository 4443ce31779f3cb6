"""What bench/run measures, and how: see bench/README.md."""

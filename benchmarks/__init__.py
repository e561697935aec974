"""Timings as ratios, taken side by side: `python -m benchmarks` takes and draws them all."""

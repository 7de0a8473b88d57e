"""Benchmarks: one file each, run by `python -m bench NAME`; rivals are measured in the same run."""

"""Benchmarks behind the committed figures; `make bench` runs them."""

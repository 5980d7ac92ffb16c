"""Benchmarks against peers, run by `make bench`; never part of the tests.

Every module here has `run(quick) -> list[Figure]`; `python -m bench` runs them all.
"""

"""Benchmarks of the server and its parts; run them from the root of the repository."""

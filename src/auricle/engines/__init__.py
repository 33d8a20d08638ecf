"""Rows of features in, decodings out: one file an engine, each run in a process of its own."""

"""Rows of all requests in one queue, batches to the engine, answers back."""

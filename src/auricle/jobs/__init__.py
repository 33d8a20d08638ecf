"""Durable runs of the pipeline: what is accepted is a row in the database, and is done whatever happens."""

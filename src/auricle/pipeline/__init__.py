"""The order of things: from audio and options to a transcript."""

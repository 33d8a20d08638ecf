"""Bytes in, 16 kHz mono float32 and log-mel features out."""

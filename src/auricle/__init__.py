"""Auricle: a Whisper transcription server that schedules 30-second windows of all requests together."""

__version__ = "0.1.0"

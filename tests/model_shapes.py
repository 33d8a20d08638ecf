"""Shapes of Whisper models, for tests that need only sizes."""

from dataclasses import replace

from auricle.engines.checkpoint import Shape

BASE = Shape(
    n_mels=80,
    d_model=512,
    encoder_layers=6,
    encoder_heads=8,
    decoder_layers=6,
    decoder_heads=8,
    vocabulary=51_865,
    text_positions=448,
    audio_positions=1500,
)
SMALL = replace(BASE, d_model=768, encoder_layers=12, encoder_heads=12, decoder_layers=12, decoder_heads=12)
LARGE = replace(BASE, d_model=1280, encoder_layers=32, encoder_heads=20, decoder_layers=32, decoder_heads=20)

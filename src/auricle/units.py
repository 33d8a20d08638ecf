"""The units of the field, and the conversions between them.

sample     1/16000 s of mono audio. All internal positions are int samples.
frame      one hop of the log-mel spectrogram: 160 samples, 10 ms.
timestamp  one step of Whisper's timestamp tokens: 20 ms.
seconds    floats, only at the public edges.
"""

SAMPLE_RATE = 16_000
N_FFT = 400
HOP_LENGTH = 160
WINDOW_S = 30
N_SAMPLES = WINDOW_S * SAMPLE_RATE
N_FRAMES = N_SAMPLES // HOP_LENGTH
FRAME_RATE = SAMPLE_RATE // HOP_LENGTH
SAMPLES_PER_TIMESTAMP = 320
TIMESTAMP_S = SAMPLES_PER_TIMESTAMP / SAMPLE_RATE


def samples_to_seconds(samples: int) -> float:
    """Length of ``samples`` samples in seconds."""
    return samples / SAMPLE_RATE


def seconds_to_samples(seconds: float) -> int:
    """Nearest whole number of samples to ``seconds``."""
    return round(seconds * SAMPLE_RATE)


def samples_to_frames(samples: int) -> int:
    """Number of log-mel frames that cover ``samples`` samples (rounded up)."""
    return -(-samples // HOP_LENGTH)


GUESSED_BYTES_PER_S = 4000
"""Of speech in a browser's recording, which names no length; a guess that is rather too long than too short."""

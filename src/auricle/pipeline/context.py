"""How much the encoder sees of a window, and whether what it then heard can be trusted.

Whisper was trained on windows of 30 s. Short ones encoded at about their own length are several times faster, but can
loop (whisper.cpp issues 1855 and 1951), so each is judged, and done again in full where it looks wrong.
"""

from auricle.pipeline.fallback import Verdict, judge
from auricle.types import AudioContext, Decoding, TranscribeOptions
from auricle.units import FRAME_RATE, N_FRAMES, samples_to_frames, samples_to_seconds

_MARGIN_FRAMES = 256
"""Silence after the audio, 2.56 s, by which the model knows that it ends."""
_MIN_FRAMES = 6 * FRAME_RATE
_STEP_FRAMES = 200
"""Lengths are rounded up to it, so that windows of like length can share a batch."""
_MAX_TOKENS_PER_S = 12.0
"""English at eight words a second, which nobody says, is 11 tokens. A language with longer ones is done in full."""
_MIN_RATED_S = 1.0


def context_frames(samples: int, audio_context: AudioContext) -> int:
    """Frames that the encoder is given for a window of ``samples``: at most 3000, which is the whole of its context."""
    if audio_context == "full":
        return N_FRAMES
    wanted = max(_MIN_FRAMES, samples_to_frames(samples) + _MARGIN_FRAMES)
    return min(N_FRAMES, -(-wanted // _STEP_FRAMES) * _STEP_FRAMES)


def trust_short_context(decoding: Decoding, text: str, samples: int, eot: int, options: TranscribeOptions) -> bool:
    """Whether a decoding with less than the full context can stand.

    It must pass all checks of ``fallback.judge``, hold text (silence is told from speech in full only), and no more of
    it than can be said in the time of the window. Tokens below ``eot`` are text.
    """
    tokens = sum(token < eot for token in decoding.tokens)
    rate = tokens / max(samples_to_seconds(samples), _MIN_RATED_S)
    return bool(text) and rate <= _MAX_TOKENS_PER_S and judge(decoding, text, options) is Verdict.ACCEPT

"""The words that the parts speak to one another: plain frozen dataclasses.

Positions are int samples of 16 kHz mono audio; times are float seconds of the file.
Classes that hold arrays compare by identity (``eq=False``).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from auricle.speaker_types import Diarization
from auricle.units import N_FRAMES

Samples = NDArray[np.float32]
"""float32 (n,), mono, 16 kHz, about -1 … 1."""

Features = NDArray[np.float32]
"""float32 (n_mels, n_frames), log-mel as openai/whisper computes it."""

Task = Literal["transcribe", "translate"]

GivesWay = Literal["never", "between_rows", "between_steps"]
"""Where a batch lets another one go first that came later: before it encodes a row, or after any token too."""

AudioContext = Literal["full", "auto"]

Channels = Literal["mix", "separate"]

STAGES = ("decode", "vad", "features", "queue", "inference", "diarization")
"""What a run consists of; each is a field of ``Timings``."""

OnStage = Callable[[str, float, float], None]
"""Takes a stage, and when a piece of its work began and ended, by ``time.perf_counter``."""


class Priority(IntEnum):
    """Classes of requests; the lower goes first."""

    REALTIME = 0
    INTERACTIVE = 1
    BATCH = 2


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Span:
    """Half-open range of samples of the file."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class VadOptions:
    """How speech is told from silence (names and meaning as in Silero VAD)."""

    threshold: float = 0.5
    neg_threshold: float | None = None
    """Below this a speech frame is silent again; ``threshold - 0.15`` when None."""
    min_speech_duration_ms: int = 100
    min_silence_duration_ms: int = 160
    speech_pad_ms: int = 300
    max_silence_s: float = 1.0
    """Silence kept inside a clip; what is longer is cut out."""
    max_clip_s: float = 28.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clip:
    """Audio that is decoded in sequence: speech of the file, packed, with long silences cut out."""

    index: int
    pieces: tuple[Span, ...]
    """Ranges of the file whose concatenation is ``samples``; ordered, disjoint."""
    speech: tuple[Span, ...]
    """Where the speech is, without padding; ordered, inside the pieces."""
    samples: Samples
    speaker: str | None = None
    """Who speaks in all of it, where a channel tells."""

    @property
    def start(self) -> int:
        return self.pieces[0].start

    @property
    def end(self) -> int:
        return self.pieces[-1].end


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """At most 30 s of a clip, given to the encoder once."""

    clip_index: int
    pieces: tuple[Span, ...]
    """Ranges of the file whose concatenation is ``samples``."""
    speech: tuple[Span, ...]
    samples: Samples
    """(<= 480_000,), a view where the window is one piece."""
    before: Samples
    """Up to 200 samples that precede the window, so that its first frames equal those of the whole file."""
    after: Samples
    """Up to 200 samples that follow it."""

    @property
    def start(self) -> int:
        return self.pieces[0].start

    def to_file(self, offset: int, *, is_end: bool = False) -> int:
        """File sample of the window sample ``offset``.

        On the seam of two pieces an end belongs to the earlier piece and a start to the later one.
        Offsets past the last piece give its end.
        """
        left = offset
        for piece in self.pieces:
            if left < piece.length or (is_end and left == piece.length):
                return piece.start + left
            left -= piece.length
        return self.pieces[-1].end


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingOptions:
    """What the engine needs to know about a row; hashable, since rows of one batch must share it."""

    task: Literal["transcribe", "translate", "detect_language"] = "transcribe"
    temperature: float = 0.0
    beam_size: int = 5
    best_of: int = 5
    patience: float = 1.0
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    suppress_tokens: tuple[int, ...] = (-1,)
    """-1 stands for the model's own list."""
    without_timestamps: bool = False
    max_initial_timestamp: float = 1.0
    max_new_tokens: int | None = None
    word_timestamps: bool = False
    logprobs: bool = False
    context_frames: int = N_FRAMES
    """Frames that the encoder sees: the features, and zeros after them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """One window as the engine sees it; crosses to the engine's process."""

    key: str
    """Names the window's audio and context, the same for every try, so that the engine can reuse its encoding."""
    features: Features
    """(n_mels, n_frames) of the audio alone; the engine pads with zeros to ``context_frames``."""
    prompt: tuple[int, ...]
    """All tokens before the text: previous text, start of transcript, language, task, no-timestamps."""
    options: DecodingOptions
    samples: Samples | None = None
    """The window's audio with its margins, for an engine that ``wants_samples``; ``features`` then tell the frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """The engine's answer for one row."""

    tokens: tuple[int, ...] = ()
    """Text and timestamp tokens, without the prompt and the end token."""
    avg_logprob: float = 0.0
    no_speech_prob: float = 0.0
    temperature: float = 0.0
    language_probabilities: tuple[tuple[str, float], ...] = ()
    """(ISO code, probability), best first; only for ``detect_language`` rows."""
    token_logprobs: tuple[float, ...] | None = None
    """One per entry of ``tokens`` that is text (not a timestamp)."""
    token_times: tuple[tuple[float, float], ...] | None = None
    """Start and end in seconds of the window, one per entry of ``tokens`` that is text."""
    token_probabilities: tuple[float, ...] | None = None
    """Probability of each text token under forced alignment; goes with ``token_times``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A decoding together with what it cost."""

    decoding: Decoding
    queued_s: float = 0.0
    inference_s: float = 0.0
    """Time of the whole batch in the engine."""
    batch_rows: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscribeOptions:
    """What a caller may ask for. Defaults are those of the server and the command line."""

    task: Task = "transcribe"
    language: str | None = None
    """ISO code, or None to detect it."""
    languages: tuple[str, ...] = ()
    """Restricts the detection."""
    language_per_window: bool = False
    prompt: str | None = None
    keywords: tuple[str, ...] = ()
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    compression_ratio_threshold: float | None = 2.4
    logprob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    condition_on_previous_text: bool = False
    prompt_reset_on_temperature: float = 0.5
    word_timestamps: bool = False
    logprobs: bool = False
    vad: bool = True
    vad_options: VadOptions = field(default_factory=VadOptions)
    beam_size: int = 5
    best_of: int = 5
    patience: float = 1.0
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    suppress_tokens: tuple[int, ...] = (-1,)
    without_timestamps: bool = False
    max_initial_timestamp: float = 1.0
    max_new_tokens: int | None = None
    audio_context: AudioContext = "full"
    """``auto`` encodes short windows at about their own length: faster, not exact."""
    diarization: Diarization | None = None
    """Finds out who spoke, for words and segments."""
    channels: Channels = "mix"
    """``separate`` takes each channel for a speaker: A, B, …."""

    @property
    def sequential(self) -> bool:
        """Whether the whole file is one clip, decoded in order as openai/whisper does."""
        return self.condition_on_previous_text or not self.vad

    @property
    def times_words(self) -> bool:
        """Whether the time of each word is found: who said it cannot be told without."""
        return self.word_timestamps or self.diarization is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestInfo:
    """Who asks, and how urgent it is; for the queue and the logs."""

    request_id: str
    caller: str = "local"
    priority: Priority = Priority.INTERACTIVE
    deadline: float | None = None
    """Monotonic clock; later work is dropped with DeadlineExceeded."""
    audio_s: float | None = None
    """What the file says of its length, for the queue's order; None where it says nothing."""
    on_start: Callable[[], None] | None = field(default=None, compare=False)
    """Called when the work begins, which a result that is there already needs none of; may raise to refuse it."""
    on_progress: Callable[[float], None] | None = field(default=None, compare=False)
    """Told the seconds of the file that are done, each time there are more."""
    on_stage: OnStage | None = field(default=None, compare=False)
    """Told of each piece of work where the request is traced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """A text token with its log-probability, as the OpenAI API gives it."""

    token: str
    bytes: tuple[int, ...]
    logprob: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word with its punctuation and leading space; times in seconds of the file."""

    word: str
    start: float
    end: float
    probability: float
    speaker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A piece of the transcript; times in seconds of the file."""

    id: int
    start: float
    end: float
    text: str
    tokens: tuple[int, ...] = ()
    temperature: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float = 1.0
    no_speech_prob: float = 0.0
    language: str | None = None
    speaker: str | None = None
    words: tuple[Word, ...] | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A span of the file without text, and why: ``silence``, ``no_speech``."""

    start: float
    end: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where the time of a request went, in seconds; parts run side by side and may sum to more than ``total``."""

    decode: float = 0.0
    vad: float = 0.0
    features: float = 0.0
    queue: float = 0.0
    inference: float = 0.0
    diarization: float = 0.0
    total: float = 0.0
    audio: float = 0.0
    windows: int = 0
    fallbacks: int = 0
    max_batch: int = 0
    """Rows of the largest batch that a window of this request shared."""

    @property
    def rtfx(self) -> float:
        """Audio seconds per second of processing; higher is better."""
        return self.audio / self.total if self.total > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """The result, from which every output format is made."""

    text: str
    segments: tuple[Segment, ...]
    language: str | None
    duration: float
    task: Task = "transcribe"
    language_probability: float | None = None
    dropped: tuple[Dropped, ...] = ()
    warnings: tuple[str, ...] = ()
    timings: Timings = field(default_factory=Timings)

    @property
    def words(self) -> tuple[Word, ...]:
        return tuple(word for segment in self.segments for word in segment.words or ())


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipDone:
    """A clip's part of the transcript, handed out in order while later clips are still being decoded."""

    start: float
    end: float
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a loaded model is and can do; the engine tells it when it is ready."""

    name: str
    engine: str
    device: str
    compute_type: str
    n_mels: int
    is_multilingual: bool
    can_translate: bool
    max_batch: int
    """Rows of a batch; of an engine that ``joins``, its slots."""
    joins: bool = False
    """Whether rows join and leave at any step, see ``engines.base.SlotEngine``; ``batch_by`` is ``()`` then."""
    wants_samples: bool = False
    """Whether it makes the features itself, of ``Row.samples``."""
    batch_by: tuple[str, ...] = ("options", "prompt_length")
    """What rows of one batch must share; see ``engines.base.batch_key``."""
    gives_way: GivesWay = "never"
    languages: Sequence[str] = ()
    details: Mapping[str, str] = field(default_factory=dict[str, str])

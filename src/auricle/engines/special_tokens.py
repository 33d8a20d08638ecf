"""Tokens with a meaning, and what follows from them, for engines whose network only gives logits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auricle.engines.checkpoint import Checkpoint
from auricle.engines.rules import Floats, Rules, Vocabulary
from auricle.tokenizer import LANGUAGES
from auricle.types import DecodingOptions
from auricle.units import TIMESTAMP_S

N_TIMESTAMPS = 1501


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialTokens:
    """Those of one model."""

    vocabulary: Vocabulary
    sot: int
    no_speech: int
    no_timestamps: int
    language_ids: tuple[int, ...]
    suppressed: tuple[int, ...]
    """What ``suppress_tokens=-1`` stands for."""
    suppressed_first: tuple[int, ...]

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "SpecialTokens":
        """The order of the special tokens is the same in every Whisper vocabulary, counted from its end:
        1501 timestamps, then no-timestamps, no-speech …
        """
        size, languages = checkpoint.shape.vocabulary, checkpoint.language_ids
        first_timestamp = size - N_TIMESTAMPS
        sot = languages[0] - 1 if languages else first_timestamp - 106
        return cls(
            # The end of text comes right before the start of transcript.
            vocabulary=Vocabulary(eot=sot - 1, first_timestamp=first_timestamp, size=size),
            sot=sot,
            no_speech=first_timestamp - 2,
            no_timestamps=first_timestamp - 1,
            language_ids=languages,
            suppressed=checkpoint.suppressed,
            suppressed_first=checkpoint.suppressed_first,
        )

    def rules(self, options: DecodingOptions) -> Rules:
        """What a row with ``options`` obeys."""
        asked = [token for token in options.suppress_tokens if token >= 0]
        own = self.suppressed if -1 in options.suppress_tokens else ()
        return Rules(
            vocabulary=self.vocabulary,
            suppressed=(*asked, *own, self.no_timestamps),
            suppressed_first=self.suppressed_first,
            timestamps=not options.without_timestamps,
            max_initial=round(options.max_initial_timestamp / TIMESTAMP_S),
            repetition_penalty=options.repetition_penalty,
            no_repeat_ngram_size=options.no_repeat_ngram_size,
        )

    def rank_languages(self, logits: Floats) -> tuple[tuple[str, float], ...]:
        """Probabilities of the languages, best first, from the logits (vocabulary,) after the start of transcript."""
        own = logits[list(self.language_ids)]
        odds = np.exp(own - own.max())
        odds /= odds.sum()
        codes = list(LANGUAGES)[: len(self.language_ids)]
        return tuple(sorted(zip(codes, odds.tolist(), strict=True), key=lambda pair: -pair[1]))

    def before_text(self, prompt: Sequence[int], options: DecodingOptions) -> tuple[int, ...]:
        """What an alignment begins with: the prompt from the start of transcript on, to no-timestamps."""
        start = tuple(prompt[list(prompt).index(self.sot) :])
        return start if options.without_timestamps else (*start, self.no_timestamps)

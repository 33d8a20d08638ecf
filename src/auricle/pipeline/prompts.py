"""The tokens in front of a window's text: keywords, given prompt, earlier text, start sequence."""

from collections.abc import Sequence

from auricle.tokenizer import Tokenizer
from auricle.types import TranscribeOptions

MAX_PROMPT_TOKENS = 448 // 2 - 1
"""Half of the decoder's context less one, as openai/whisper trains and prompts."""


class Prompter:
    """Builds the prompt of each window of a clip. Keywords go into every window; the given prompt into the first
    window of a clip, or as long as the earlier text that follows it leaves room.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        options: TranscribeOptions,
        *,
        multilingual: bool,
        history: Sequence[int] | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._options = options
        self._multilingual = multilingual
        keywords = ", ".join(keyword.strip() for keyword in options.keywords if keyword.strip())
        self._keywords = tokenizer.encode(f" {keywords}")[:MAX_PROMPT_TOKENS] if keywords else []
        prompt = (options.prompt or "").strip()
        self._history = tokenizer.encode(f" {prompt}") if prompt else []
        self._given = list(self._history)
        if history is not None:
            self._history = list(history)

    @property
    def history(self) -> tuple[int, ...]:
        """What conditions the next window; a Prompter that is made with it goes on from here."""
        return tuple(self._history)

    def build(self, language: str | None) -> tuple[int, ...]:
        """All tokens before the text of the next window."""
        room = MAX_PROMPT_TOKENS - len(self._keywords)
        context = self._keywords + (self._history[-room:] if room > 0 else [])
        start = self._tokenizer.sequence(
            language=language,
            task=self._options.task,
            timestamps=not self._options.without_timestamps,
            multilingual=self._multilingual,
        )
        return (*((self._tokenizer.sot_prev, *context) if context else ()), *start)

    def accept(self, tokens: Sequence[int], temperature: float) -> None:
        """Note the text of a window; it conditions the next one where that was asked for.

        Text that needed a high temperature is not worth conditioning on (openai/whisper's rule).
        """
        if not self._options.condition_on_previous_text:
            # Windows of packed clips are independent and all want the caller's prompt; a sequential run follows
            # openai/whisper, where the prompt belongs to the beginning of the file.
            self._history = [] if self._options.sequential else self._given
        elif temperature > self._options.prompt_reset_on_temperature:
            self._history = []
        else:
            self._history = (self._history + list(tokens))[-MAX_PROMPT_TOKENS:]

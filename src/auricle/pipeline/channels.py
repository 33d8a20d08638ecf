"""Files in which each channel is a speaker, such as recorded calls: a channel's clips, as if it were a file."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from auricle.audio.channels import silence_crosstalk
from auricle.audio.decode import MAX_CHANNELS, Channels
from auricle.errors import InvalidOption
from auricle.pipeline.clip import WindowDone
from auricle.types import Clip, Samples, TranscribeOptions, VadOptions
from auricle.windows.clips import Clipper

NAMES = tuple("ABCDEFGH"[:MAX_CHANNELS])
"""Of the speakers, by channel."""


class ClipSource(Protocol):
    """Blocks of audio in, clips out; a ``Clipper``, or one for channels."""

    def feed(self, samples: Samples, /) -> list[Clip]: ...
    def finish(self) -> list[Clip]: ...


class ChannelClipper:
    """Blocks (channels, n) in; clips of all channels out, each with its speaker, numbered as they become complete."""

    def __init__(self, options: VadOptions) -> None:
        self._options = options
        self._clippers: list[Clipper] = []
        self._count = 0

    @property
    def channels(self) -> int:
        """That were seen."""
        return len(self._clippers)

    def feed(self, samples: Channels) -> list[Clip]:
        """See Clipper."""
        if not self._clippers:
            self._clippers = [Clipper(self._options) for _ in samples]
        gated = silence_crosstalk(samples)
        return self._number(
            [clipper.feed(channel) for clipper, channel in zip(self._clippers, gated, strict=True)],
        )

    def finish(self) -> list[Clip]:
        """See Clipper."""
        return self._number([clipper.finish() for clipper in self._clippers])

    def _number(self, found: Sequence[Sequence[Clip]]) -> list[Clip]:
        clips = [replace(clip, speaker=name) for name, clips in zip(NAMES, found, strict=False) for clip in clips]
        clips.sort(key=lambda clip: clip.start)
        numbered = [replace(clip, index=self._count + number) for number, clip in enumerate(clips)]
        self._count += len(numbered)
        return numbered


def check_channels(options: TranscribeOptions) -> None:
    """Raises InvalidOption where separate channels contradict another option."""
    if options.channels == "mix":
        return
    if options.diarization is not None:
        raise InvalidOption(
            "channels=separate tells speakers by their channels; leave out diarization", param="channels"
        )
    if options.sequential:
        raise InvalidOption(
            "channels=separate works with voice activity detection only, and without condition_on_previous_text",
            param="channels",
        )


def spoken_by(window: WindowDone, speaker: str) -> WindowDone:
    """The window with the speaker in its segments and words."""
    return replace(
        window,
        segments=tuple(
            replace(
                segment,
                speaker=speaker,
                words=None
                if segment.words is None
                else tuple(replace(word, speaker=speaker) for word in segment.words),
            )
            for segment in window.segments
        ),
    )

"""Writes the voices of ``tests/audio/voices``: recordings of one speaker each, strung together, with their places.

python -m benchmarks.voice_files DIGITS

DIGITS is a folder of the Free Spoken Digit Dataset with one folder for each speaker. The synthetic voices need flite,
festival and espeak-ng.
"""

import json
import subprocess
import sys
import tempfile
import wave
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.stream import AudioStream

from auricle.types import Samples

RATE = 8_000
"""Of the digits; the other voices are brought to it, so that no speaker is known by the width of the band."""

CALIBRATION = ("george", "jackson", "yweweler", "slt", "rms", "m3", "f2")
"""Voices that the constants of the diarization were found with; the others are held out."""

FLITE = ("slt", "rms", "awb", "kal16")
FESTIVAL = {"ked": "voice_ked_diphone"}
ESPEAK = {"m3": "en-us+m3", "f2": "en-gb+f2", "m7": "en-gb-scotland+m7", "f4": "en-us+f4"}
SENTENCES = (
    "Please send the update to the office before noon.",
    "The bus from Toronto is short of drivers today.",
    "They explained the recipe, and then we cooked.",
    "My grandmother studies law in a small town.",
    "Can you fix the account by Wednesday?",
    "The conference starts at seven o'clock in the hall.",
    "Turn left at the hospital, and then turn right.",
    "Add onions and honey to the plate, not sugar.",
)
_PAUSE_S = 0.2
_LEVEL = 0.05
_MAX_RECORDINGS = 60


def main() -> None:
    digits, folder = Path(sys.argv[1]), Path(__file__).parents[1] / "tests" / "audio" / "voices"
    folder.mkdir(parents=True, exist_ok=True)
    voices: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for speaker in sorted(path.name for path in digits.iterdir() if path.is_dir()):
            recordings = [read_wav(path) for path in sorted((digits / speaker).glob("*.wav"))[:_MAX_RECORDINGS]]
            voices[speaker] = {"kind": "human", "recordings": write_voice(folder / f"{speaker}.flac", recordings)}
        for voice in (*FLITE, *FESTIVAL, *ESPEAK):
            recordings = [speak(voice, sentence, Path(scratch) / "spoken.wav") for sentence in SENTENCES]
            voices[voice] = {"kind": "synthetic", "recordings": write_voice(folder / f"{voice}.flac", recordings)}
    for name, voice in voices.items():
        voice["set"] = "calibration" if name in CALIBRATION else "held-out"
    (folder / "voices.json").write_text(json.dumps(voices) + "\n", encoding="utf-8")


def speak(voice: str, text: str, out: Path) -> Samples:
    """The sentence by one of the synthetic voices, at 8 kHz."""
    out.unlink(missing_ok=True)
    if voice in FLITE:
        command = ["flite", "-voice", voice, "-t", text, "-o", str(out)]
    elif voice in ESPEAK:
        command = ["espeak-ng", "-v", ESPEAK[voice], "-s", "150", "-w", str(out), text]
    else:
        script = out.with_suffix(".scm")
        script.write_text(
            f'({FESTIVAL[voice]})\n(utt.save.wave (utt.synth (Utterance Text "{text}")) "{out}" \'riff)\n'
        )
        command = ["festival", "-b", str(script)]
    subprocess.run(command, check=True, capture_output=True)
    return read_wav(out)


def read_wav(path: Path) -> Samples:
    """A WAV file of 16 bits at 8 kHz."""
    with wave.open(str(path)) as file:
        rate, pcm = file.getframerate(), np.frombuffer(file.readframes(10**9), "<i2")
    if rate == RATE:
        return np.asarray(pcm / 32768, np.float32)
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
    frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
    frame.sample_rate = rate
    parts = [part.to_ndarray()[0] for part in [*resampler.resample(frame), *resampler.resample(None)]]
    return np.asarray(np.concatenate(parts), np.float32)


def trim(samples: Samples) -> Samples:
    """What is not much quieter than the loudest 10 ms, at one level."""
    hop = RATE // 100
    level = np.sqrt(np.square(samples[: samples.size // hop * hop]).reshape(-1, hop).mean(axis=1))
    loud = np.flatnonzero(level > 0.03 * level.max())
    part = samples[loud[0] * hop : (loud[-1] + 1) * hop]
    gain = min(_LEVEL / float(np.sqrt(np.square(part).mean())), 0.95 / float(np.abs(part).max()))
    return (part * gain).astype(np.float32)


def write_voice(path: Path, recordings: list[Samples]) -> list[tuple[float, float]]:
    """One file of them all; returns where each starts and ends, in seconds."""
    places: list[tuple[float, float]] = []
    pause = np.zeros(round(_PAUSE_S * RATE), np.float32)
    parts, position = [pause], pause.size
    for recording in map(trim, recordings):
        parts += [recording, pause]
        places.append((round(position / RATE, 4), round((position + recording.size) / RATE, 4)))
        position += recording.size + pause.size
    with av.open(str(path), "w", format="flac") as container:
        stream = cast("AudioStream", container.add_stream("flac", rate=RATE, layout="mono"))
        pcm = np.rint(np.clip(np.concatenate(parts), -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return places


if __name__ == "__main__":
    main()

"""Speech from flite, festival and espeak-ng, and strings of the Free Spoken Digit Dataset's human digits."""

import io
import random
import subprocess
import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from features import SAMPLE_RATE
from grammar import digits_sentence
from scipy.signal import resample_poly

ACCENTS = {
    "en": ["en-us", "en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-us-nyc"],
    "de": ["de"],
    "fr": ["fr-fr", "fr-fr", "fr-be", "fr-ch"],
    "es": ["es", "es-419"],
}
CORE_VARIANTS = ["", "m1", "m2", "m3", "m4", "m5", "m6", "m8", "f1", "f2", "f4", "f5"]
_ODD_VARIANTS = """klatt klatt3 Andrea Annie Denis edward linda steph adam belinda benjamin john robert shelby travis
    zac boris david Gene max sandro pablo norbert marcelo miguel antonio anika aunty grandma gustave iven Marco
    victor"""
VARIANTS = [*CORE_VARIANTS, *_ODD_VARIANTS.split()]
HELD_OUT_VARIANTS = ["f3", "m7"]
FESTIVAL_VOICES = {"slt_hts": "voice_cmu_us_slt_arctic_hts", "ked": "voice_ked_diphone"}
DIGIT_SPEAKERS = ["george", "jackson", "lucas", "nicolas", "yweweler"]
HELD_OUT_DIGIT_SPEAKER = "theo"
RESAMPLING = {8000: (2, 1), 16000: (1, 1), 22050: (320, 441), 32000: (1, 2)}


@dataclass(frozen=True, slots=True)
class Spoken:
    """A text and its speech (float32 at 16 kHz)."""

    text: str
    voice: str
    samples: np.ndarray


def read_wav(source: bytes | Path) -> np.ndarray:
    """Return a 16-bit mono WAV as float32 at 16 kHz; raises KeyError for a rate that no voice here has."""
    with wave.open(io.BytesIO(source) if isinstance(source, bytes) else str(source)) as file:
        up, down = RESAMPLING[file.getframerate()]
        samples = np.frombuffer(file.readframes(10**9), dtype="<i2").astype(np.float32) / 32768
    return samples if up == down else resample_poly(samples, up, down).astype(np.float32)


def trim(samples: np.ndarray) -> np.ndarray | None:
    """Cut silence at both ends to 25 ms and bring speech to one loudness; None where there is none."""
    if len(samples) < 800:
        return None
    n_frames = len(samples) // 160
    energy = np.sqrt((samples[: n_frames * 160].reshape(n_frames, 160) ** 2).mean(1))
    loud = np.where(energy > 0.02 * energy.max())[0]
    if len(loud) < 5:
        return None
    samples = samples[max(0, loud[0] * 160 - 400) : min(len(samples), (loud[-1] + 1) * 160 + 400)]
    samples = samples / (np.sqrt((samples**2).mean()) + 1e-6) * 0.07
    peak = np.abs(samples).max()
    return samples * (0.95 / peak) if peak > 0.95 else samples


@dataclass(slots=True)
class Voices:
    """The synthesizers, with random voices, speeds and pitches; `scratch` is a folder for their files."""

    rng: random.Random
    scratch: Path
    digits_folder: Path
    _digit_clips: dict[Path, np.ndarray] = field(default_factory=dict)

    @property
    def has_digits(self) -> bool:
        """Whether the recordings of digits are there."""
        return self.digits_folder.is_dir()

    def espeak(self, text: str, language: str, variant: str | None = None) -> Spoken:
        """Speak with a random accent, and a random variant unless one is given."""
        rng = self.rng
        if variant is None:
            variant = rng.choice(CORE_VARIANTS) if rng.random() < 0.6 else rng.choice(VARIANTS)
        voice = rng.choice(ACCENTS[language]) + (f"+{variant}" if variant else "")
        speed, pitch = str(rng.randint(125, 185)), str(rng.randint(30, 70))
        command = ["espeak-ng", "-v", voice, "-s", speed, "-p", pitch, "--stdout", text]
        return Spoken(
            text, f"espeak:{voice}", read_wav(subprocess.run(command, capture_output=True, check=True).stdout)
        )

    def flite(self, text: str, voice: str) -> Spoken:
        """Speak at a random speed, and mostly at a random pitch where the voice allows it."""
        out = self.scratch / "flite.wav"
        command = ["flite", "-voice", voice, "--setf", f"duration_stretch={self.rng.uniform(0.85, 1.2):.2f}"]
        if voice in {"kal16", "kal"} and self.rng.random() < 0.7:
            command += ["--setf", f"int_f0_target_mean={self.rng.randint(85, 180)}"]
        subprocess.run([*command, "-t", text, "-o", str(out)], check=True, capture_output=True)
        return Spoken(text, f"flite:{voice}", read_wav(out))

    def festival(self, texts: list[str], voice: str) -> Iterator[Spoken]:
        """Speak many texts in one run, since festival takes long to start; a text it cannot speak is left out."""
        script = self.scratch / "festival.scm"
        outs = [self.scratch / f"festival{index}.wav" for index in range(len(texts))]
        lines = [f"({FESTIVAL_VOICES[voice]})"]
        for text, out in zip(texts, outs, strict=True):
            out.unlink(missing_ok=True)
            plain = text.replace('"', "").replace("\\", "")
            lines.append(f'(utt.save.wave (utt.synth (Utterance Text "{plain}")) "{out}" \'riff)')
        script.write_text("\n".join(lines))
        subprocess.run(["festival", "-b", str(script)], capture_output=True, check=False)
        for text, out in zip(texts, outs, strict=True):
            if out.exists():
                yield Spoken(text, f"festival:{voice}", read_wav(out))
            else:
                print("festival failed:", text)

    def digits(self, speakers: list[str]) -> Spoken:
        """Join one to six recorded digits of a random speaker."""
        rng = self.rng
        speaker = rng.choice(speakers)
        digits = [rng.randint(0, 9) for _ in range(rng.randint(1, 6))]
        parts = []
        for digit in digits:
            clip = self._digit_clip(self.digits_folder / f"{digit}_{speaker}_{rng.randint(0, 49)}.wav")
            noise = np.random.RandomState(rng.randint(0, 1 << 30))
            parts += [clip, noise.randn(rng.randint(800, 4800)).astype(np.float32) * 1e-4]
        return Spoken(digits_sentence(digits), f"fsdd:{speaker}", np.concatenate(parts[:-1]))

    def _digit_clip(self, path: Path) -> np.ndarray:
        if path not in self._digit_clips:
            clip = trim(read_wav(path))
            self._digit_clips[path] = np.zeros(SAMPLE_RATE // 20, np.float32) if clip is None else clip
        return self._digit_clips[path]

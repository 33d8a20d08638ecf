"""Other programs as subjects of the worker, each called inside its own Python process, its best case.

None of them has a voice detector here: whisper.cpp's is a model of its own, the others have none. All have their
temperature ladder, and none conditions on previous text, as everywhere in these benchmarks.
"""

# pyright: reportMissingImports=false
# They are installed elsewhere, as a rule.

from collections.abc import Callable
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.worker import Outcome, Task, Transcribe

_TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_SAMPLE_RATE = 16_000


def run_whisper_cpp(model: Path, threads: int) -> Transcribe:
    """whisper.cpp through pywhispercpp, float16 weights."""
    from pywhispercpp.model import Model

    from benchmarks.peer_models import ggml_file

    path = ggml_file(model)

    @cache
    def load(beam_size: int) -> Any:  # the strategy is chosen when it loads
        options: dict[str, Any] = {"beam_search": {"beam_size": beam_size, "patience": -1.0}} if beam_size > 1 else {}
        return Model(
            str(path),
            params_sampling_strategy=int(beam_size > 1),
            n_threads=threads,
            no_context=True,
            print_progress=False,
            print_timestamps=False,
            **options,
        )

    def run(samples: Any, task: Task) -> tuple[str, str | None]:
        segments = load(task.beam_size).transcribe(samples, language=task.language or "auto")
        return " ".join(segment.text for segment in segments), task.language

    return _timed(run)


def run_openai_whisper(model: Path, threads: int) -> Transcribe:
    """OpenAI's own code, float32."""
    import torch
    from whisper.model import ModelDimensions, Whisper

    from benchmarks.peer_models import hugging_face_folder, openai_dimensions, openai_weights

    torch.set_num_threads(threads)
    folder = hugging_face_folder(model)
    peer = Whisper(ModelDimensions(**openai_dimensions(folder)))
    peer.load_state_dict({name: torch.from_numpy(value) for name, value in openai_weights(folder).items()})
    peer.eval()

    def run(samples: Any, task: Task) -> tuple[str, str | None]:
        result = peer.transcribe(
            samples,
            language=task.language,
            beam_size=task.beam_size if task.beam_size > 1 else None,
            best_of=5,
            temperature=_TEMPERATURES,
            condition_on_previous_text=False,
            fp16=False,
        )
        return result["text"], result["language"]

    return _timed(run)


def run_transformers(model: Path, threads: int) -> Transcribe:
    """Transformers' long-form generation, one window after the other, float32."""
    import torch
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    from benchmarks.peer_models import hugging_face_folder

    torch.set_num_threads(threads)
    folder = hugging_face_folder(model)
    processor: Any = WhisperProcessor.from_pretrained(folder)
    peer: Any = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()

    def run(samples: Any, task: Task) -> tuple[str, str | None]:
        # Short audio is padded to one window; long audio keeps its length and is decoded window by window.
        is_long = samples.size > 30 * _SAMPLE_RATE
        length = {"truncation": False, "padding": "longest"} if is_long else {}
        inputs = processor(
            samples, sampling_rate=_SAMPLE_RATE, return_tensors="pt", return_attention_mask=True, **length
        )
        with torch.inference_mode():
            tokens = peer.generate(
                **inputs,
                language=task.language,
                task="transcribe",
                num_beams=task.beam_size,
                return_timestamps=True,
                temperature=_TEMPERATURES,
                compression_ratio_threshold=1.35,  # it counts tokens, not characters; the value is its own advice
                logprob_threshold=-1.0,
                no_speech_threshold=0.6,
                condition_on_prev_tokens=False,
            )
        return processor.batch_decode(tokens, skip_special_tokens=True)[0], task.language

    return _timed(run)


def _timed(run: Callable[[Any, Task], tuple[str, str | None]]) -> Transcribe:
    """From the path to the text; the audio is decoded in memory, for none of them has the decoder the others have."""
    from faster_whisper.audio import decode_audio

    def transcribe(task: Task) -> Outcome:
        if task.words:
            raise ValueError("word timestamps are compared with faster-whisper only")
        start = perf_counter()
        text, language = run(decode_audio(task.path, sampling_rate=_SAMPLE_RATE), task)
        return Outcome(seconds=perf_counter() - start, text=text, language=language)

    return transcribe

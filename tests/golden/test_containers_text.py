"""The same recording in every container and codec gives the same text."""

import numpy as np
import pytest

from auricle.audio.decode import decode_audio
from auricle.runtime import Runtime
from auricle.types import RequestInfo, TranscribeOptions
from media import CONTAINERS, encode
from samples import load_sample
from scoring import normalize, word_errors

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("name", sorted(CONTAINERS))
async def test_a_recording_reads_the_same_from_any_container(runtime: Runtime, tmp_path, name: str):
    sample = load_sample("07_en_human_digits")
    samples = np.concatenate(list(decode_audio(sample.path)))
    path = encode(samples, tmp_path / f"clip.{CONTAINERS[name].suffix}", CONTAINERS[name])
    found = await runtime.transcriber.run(
        path, TranscribeOptions(language="en"), model=None, request=RequestInfo(request_id=name)
    )
    wrong, _ = word_errors(sample.text, found.text)
    # Telephone codecs throw half of the spectrum away; nano never heard such speech.
    assert wrong <= (2 if CONTAINERS[name].min_correlation < 0.7 else 0), normalize(found.text)

"""Kept results in every database."""

from pathlib import Path

from auricle.store.opening import erase_transcripts, open_transcripts
from auricle.types import Transcript

HELLO = Transcript(text="hello", segments=(), language="en", duration=1.0)
ASKED = {"words": False, "logprobs": False}


def test_results_are_kept_evicted_and_erased(database_url: str, tmp_path: Path) -> None:
    store = open_transcripts(tmp_path, url=database_url, max_age_s=60, max_bytes=1000)
    store.put("k", HELLO, **ASKED)
    store.put("k", HELLO, **ASKED)
    assert store.get("k", **ASKED) == HELLO
    for number in range(5):
        store.put(f"k{number}", HELLO, **ASKED)
    assert store.size_bytes <= 1000
    assert store.get("k4", **ASKED) == HELLO
    store.close()
    again = open_transcripts(tmp_path, url=database_url, max_age_s=60, max_bytes=1000)
    assert again.get("k4", **ASKED) == HELLO
    again.close()
    erase_transcripts(tmp_path, url=database_url)
    empty = open_transcripts(tmp_path, url=database_url, max_age_s=60, max_bytes=1000)
    assert empty.get("k4", **ASKED) is None
    empty.close()

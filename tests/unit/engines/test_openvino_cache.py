import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from auricle.engines.openvino_cache import CompiledCache, cache_key, fingerprint

PARTS = [b"encoder" * 1000, b"decoder"]
PAGE = 4096
HEADER = 65536


def cache_in(folder: Path, max_bytes: int = 10**9) -> CompiledCache:
    return CompiledCache(folder=folder / "engines", max_bytes=max_bytes)


def entry_files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "engines").iterdir())


def read_back(cache: CompiledCache, key: str) -> list[bytes] | None:
    entry = cache.read(key)
    return None if entry is None else [part.tobytes() for part in entry.parts]


def test_an_entry_comes_back_as_it_was_written(tmp_path: Path):
    cache = cache_in(tmp_path)
    assert cache.read("a") is None
    assert cache.write("a", PARTS, {"model": "nano"})
    assert read_back(cache, "a") == PARTS
    assert cache.read("b") is None
    assert entry_files(tmp_path) == ["a.compiled"]


def test_parts_can_still_be_read_after_their_pages_were_forgotten(tmp_path: Path):
    cache = cache_in(tmp_path)
    cache.write("a", PARTS, {})
    entry = cache.read("a")
    assert entry is not None
    entry.forget_pages()
    assert [part.tobytes() for part in entry.parts] == PARTS


def test_a_part_begins_on_a_page_and_can_be_used_without_a_copy(tmp_path: Path):
    cache = cache_in(tmp_path)
    cache.write("a", PARTS, {})
    entry = cache.read("a")
    assert entry is not None
    for part in entry.parts:
        assert part.ctypes.data % PAGE == 0
        assert part.flags.writeable
        assert not part.flags.owndata


@pytest.mark.parametrize("where", [0, 15, HEADER + 900, HEADER + 8999, -4000])
def test_a_byte_that_flipped_makes_an_entry_absent_and_takes_it_away(tmp_path: Path, where: int):
    cache = cache_in(tmp_path)
    cache.write("a", [b"x" * 9000, b"y" * 4096], {})
    path = tmp_path / "engines" / "a.compiled"
    raw = bytearray(path.read_bytes())
    raw[where] ^= 0x20
    path.write_bytes(raw)
    assert cache.read("a") is None
    assert entry_files(tmp_path) == []


@pytest.mark.parametrize("kept", [0, 1, 100, HEADER + 5000])
def test_an_entry_that_breaks_off_is_absent(tmp_path: Path, kept: int):
    cache = cache_in(tmp_path)
    cache.write("a", PARTS, {})
    path = tmp_path / "engines" / "a.compiled"
    path.write_bytes(path.read_bytes()[:kept])
    assert cache.read("a") is None
    assert cache.write("a", PARTS, {})
    assert read_back(cache, "a") == PARTS


@pytest.mark.parametrize("text", ["[]", "{}", '{"parts": 7}', '{"parts": [[-1, 0]]}', '{"parts": [["x", 0]]}'])
def test_a_header_of_another_kind_is_no_entry(tmp_path: Path, text: str):
    cache = cache_in(tmp_path)
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "a.compiled").write_bytes(text.encode() + b"\n" + bytes(PAGE))
    assert cache.read("a") is None


def test_what_was_unused_for_longest_makes_room(tmp_path: Path):
    cache = cache_in(tmp_path, max_bytes=3 * (HEADER + PAGE))
    for age, key in enumerate("abc"):
        cache.write(key, [b"x" * PAGE], {})
        os.utime(tmp_path / "engines" / f"{key}.compiled", (age, age))
    assert cache.read("a") is not None  # used again: now the youngest
    assert cache.write("d", [b"x" * PAGE], {})
    assert entry_files(tmp_path) == ["a.compiled", "c.compiled", "d.compiled"]
    assert cache.write("d", [b"y" * PAGE], {})
    assert entry_files(tmp_path) == ["a.compiled", "c.compiled", "d.compiled"]


def test_what_does_not_fit_is_not_kept_and_pushes_nothing_out(tmp_path: Path):
    cache = cache_in(tmp_path, max_bytes=HEADER + 2 * PAGE)
    assert cache.write("a", [b"x" * PAGE], {})
    assert not cache.write("b", [b"x" * 4 * PAGE], {})
    assert entry_files(tmp_path) == ["a.compiled"]


def test_a_part_is_asked_for_when_the_one_before_it_is_on_disk_and_a_failure_leaves_nothing(tmp_path: Path):
    cache = cache_in(tmp_path)

    def parts() -> Iterator[bytes]:
        yield b"x" * 10_000_000
        (unfinished,) = (tmp_path / "engines").iterdir()
        assert unfinished.stat().st_size >= 10_000_000
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        cache.write("a", parts(), {})
    assert entry_files(tmp_path) == []


def test_a_folder_that_cannot_be_written_only_means_that_nothing_is_kept(tmp_path: Path):
    (tmp_path / "engines").write_text("a file where the folder should be")
    cache = cache_in(tmp_path)
    assert not cache.write("a", PARTS, {})
    assert cache.read("a") is None


def test_a_file_that_was_never_finished_goes_when_it_is_old(tmp_path: Path):
    cache = cache_in(tmp_path)
    cache.write("a", PARTS, {})
    old, new = (tmp_path / "engines" / name for name in ("old.tmp", "new.tmp"))
    for path in (old, new):
        path.write_bytes(b"x")
    long_ago = time.time() - 7200
    os.utime(old, (long_ago, long_ago))
    cache.write("b", PARTS, {})
    assert entry_files(tmp_path) == ["a.compiled", "b.compiled", "new.tmp"]


def test_a_key_depends_on_every_value():
    first = cache_key({"openvino": "1", "model": "m"})
    assert first == cache_key({"model": "m", "openvino": "1"})
    assert first != cache_key({"openvino": "2", "model": "m"})


def test_the_fingerprint_of_a_folder_sees_content_times_and_names(tmp_path: Path):
    folder = tmp_path / "model"
    folder.mkdir()
    weights = folder / "model.bin"
    weights.write_bytes(bytes(1_000_000))
    os.utime(weights, (1, 1))
    first = fingerprint(folder)
    assert fingerprint(folder) == first

    raw = bytearray(1_000_000)
    raw[100_000:400_000] = b"x" * 300_000
    weights.write_bytes(raw)
    os.utime(weights, (1, 1))
    second = fingerprint(folder)
    assert second != first

    os.utime(weights, (2, 2))
    third = fingerprint(folder)
    assert third not in {first, second}
    weights.rename(folder / "other.bin")
    assert fingerprint(folder) != third


def test_the_fingerprint_of_a_folder_is_the_same_wherever_it_lies(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.bin").write_bytes(b"x" * 10_000)
        os.utime(tmp_path / name / "model.bin", (1, 1))
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")

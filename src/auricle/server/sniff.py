"""What a file is by its first bytes."""

_MAGIC = (
    (0, b"RIFF", "wav"),
    (0, b"RF64", "wav"),
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (0, b"ID3", "mp3"),
    (4, b"ftyp", "m4a"),
    (0, b"\x1aE\xdf\xa3", "webm"),
)

HEAD_BYTES = 12
"""So many bytes are enough."""


def sniff_format(head: bytes) -> str | None:
    """``wav``, ``flac``, ``ogg``, ``mp3``, ``m4a`` or ``webm``; None where nothing marks the file as one of them."""
    return next((name for offset, magic, name in _MAGIC if head[offset:].startswith(magic)), None)

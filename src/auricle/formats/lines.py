"""Text into lines of a given display width."""

import unicodedata

_CLOSING = frozenset({"Pe", "Pf", "Po"})


def clean_text(text: str) -> str:
    """One line without control characters, with single spaces."""
    kept = "".join(char for char in text if char.isspace() or unicodedata.category(char) != "Cc")
    return " ".join(kept.split())


def display_width(text: str) -> int:
    """Columns of a terminal or a caption grid: two for wide characters, none for combining ones."""
    return sum(_char_width(char) for char in text)


def split_atoms(text: str, width: int) -> list[str]:
    """The pieces between which a line may break, each with the space that precedes it.

    A break is allowed at spaces and beside wide characters, though not before closing punctuation. A piece wider
    than ``width`` columns is split between characters, since it would fit nowhere.
    """
    atoms: list[str] = []
    for position, word in enumerate(text.split()):
        pieces = _split_wide(word)
        pieces = [part for piece in pieces for part in ([piece] if display_width(piece) <= width else clusters(piece))]
        if position or text[:1].isspace():
            pieces[0] = " " + pieces[0]
        atoms.extend(pieces)
    return atoms


def wrap_balanced(text: str, width: int) -> list[str]:
    """As few lines of at most ``width`` columns as possible, of about equal width."""
    atoms = split_atoms(text, width)
    lines = _fill(atoms, width)
    low, high = 1, width
    while low < high:
        middle = (low + high) // 2
        trial = _fill(atoms, middle)
        if len(trial) <= len(lines) and all(display_width(line) <= middle for line in trial):
            lines, high = trial, middle
        else:
            low = middle + 1
    return lines


def count_lines(text: str, width: int) -> int:
    """How few lines of at most ``width`` columns can hold the text."""
    return len(_fill(split_atoms(text, width), width))


def clusters(text: str) -> list[str]:
    """Characters, each with the combining marks and joiners that belong to it."""
    parts: list[str] = []
    for char in text:
        joined = parts and (_char_width(char) == 0 or parts[-1].endswith("\u200d"))
        if joined:
            parts[-1] += char
        else:
            parts.append(char)
    return parts


def _char_width(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def _split_wide(word: str) -> list[str]:
    pieces: list[str] = []
    after_wide = True
    for cluster in clusters(word):
        is_wide = display_width(cluster) > 1
        is_closing = is_wide and unicodedata.category(cluster[0]) in _CLOSING
        if not pieces or ((is_wide or after_wide) and not is_closing):
            pieces.append(cluster)
        else:
            pieces[-1] += cluster
        after_wide = is_wide
    return pieces


def _fill(atoms: list[str], width: int) -> list[str]:
    lines: list[str] = []
    for atom in atoms:
        if lines and display_width(lines[-1] + atom) <= width:
            lines[-1] += atom
        else:
            lines.append(atom.strip())
    return lines

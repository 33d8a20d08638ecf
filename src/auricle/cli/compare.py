"""How near a text is to its reference; for ``demo`` and ``doctor``."""

import re
from itertools import pairwise


def count_word_errors(reference: str, text: str) -> tuple[int, int]:
    """Words to insert, delete or replace to get from ``text`` to ``reference``, and the words of the reference.

    Case and punctuation do not count.
    """
    wanted, got = _words(reference), _words(text)
    row = list(range(len(got) + 1))
    for done, word in enumerate(wanted, 1):
        corners = pairwise(row)
        row = [done]
        for other, (diagonal, above) in zip(got, corners, strict=True):
            row.append(min(diagonal + (word != other), above + 1, row[-1] + 1))
    return row[-1], len(wanted)


def _words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.casefold())

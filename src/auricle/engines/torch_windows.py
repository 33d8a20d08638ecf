"""Windows on their way into slots: from audio, from a slot that holds them, or from an encoding that was kept."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyTorch's functions carry incomplete types.

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from auricle.engines.torch_encoder import Encoded, WindowEncoder
from auricle.engines.torch_load import LoadedWhisper
from auricle.engines.torch_rows import RowInside
from auricle.engines.torch_seats import Seats
from auricle.engines.torch_slots import SlotPool

_KEPT_BYTES = {"cpu": 64 * 2**20, "mps": 128 * 2**20, "cuda": 512 * 2**20}
"""Of encodings, which are about a tenth of the keys and values that are made of them."""


@dataclass(frozen=True, slots=True, eq=False)
class _Coming:
    rows: list[RowInside]
    encoded: Encoded


class Windows:
    """Encodes the windows of rows that wait, a few at a time, and puts them into their slots."""

    def __init__(self, loaded: LoadedWhisper, pool: SlotPool, seats: Seats) -> None:
        self._model = loaded.model
        self._at_once = loaded.windows
        self._encoder = WindowEncoder(loaded)
        self._pool = pool
        self._seats = seats
        self._most_bytes = _KEPT_BYTES[loaded.device.type]
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._kept_bytes = 0
        self._coming: _Coming | None = None

    def bring(self, waiting: Sequence[RowInside], *, wait: bool) -> list[RowInside]:
        """Have the windows of ``waiting`` brought into their slots; returns the rows whose windows have arrived.

        A few are encoded at a time; with ``wait`` what is done next comes after them.
        """
        arrived = self._take(wait=wait)
        missing: list[RowInside] = []
        work = self._at_once
        for row in waiting:
            is_coming = self._coming is not None and row in self._coming.rows
            if row in arrived or is_coming:
                continue
            if self._copy(row):
                arrived.append(row)
            elif work == 0:
                continue
            elif row.key in self._kept:
                self._kept.move_to_end(row.key)
                self._put([row], self._kept[row.key][None])
                arrived.append(row)
                work -= 1
            elif self._may_share(row, missing):
                missing.append(row)
                work -= 1
        if missing:
            self._coming = _Coming(missing, self._encoder.encode([row.row for row in missing]))
            arrived += self._take(wait=wait and not arrived)
        return arrived

    def _may_share(self, row: RowInside, others: Sequence[RowInside]) -> bool:
        """Whether it can be encoded now, together with ``others``."""
        if self._coming is not None:
            return False
        return all(row.positions == other.positions and row.key != other.key for other in others)

    def _take(self, *, wait: bool) -> list[RowInside]:
        """Those that were being encoded, when that is done."""
        coming = self._coming
        if coming is None or not (wait or coming.encoded.is_ready):
            return []
        self._coming = None
        encodings = coming.encoded.take()
        for row, encoding in zip(coming.rows, encodings, strict=True):
            self._keep(row.key, encoding)
        # Those that have left meanwhile have no slots any more.
        there = [(row, encoding) for row, encoding in zip(coming.rows, encodings, strict=True) if not row.has_left]
        if len(there) == len(coming.rows):
            self._put(coming.rows, encodings)
        else:
            for row, encoding in there:
                self._put([row], encoding[None])
        return [row for row, _ in there]

    def _copy(self, row: RowInside) -> bool:
        """Take the window from slots that hold it, if there are any."""
        holders = self._seats.holders(row.key)
        others = [slot for slot in row.slots if slot not in holders]
        if holders and others:
            self._pool.copy_window(holders[0], others, row.positions)
            self._seats.hold(others, row.key)
        return bool(holders)

    def _put(self, rows: Sequence[RowInside], encodings: Tensor) -> None:
        keys, values = self._model.cross(encodings)
        for number, row in enumerate(rows):
            own = slice(number, number + 1)
            self._pool.put_window(row.slots, keys[:, own], values[:, own])
            self._seats.hold(row.slots, row.key)

    def _keep(self, key: str, encoding: Tensor) -> None:
        # A copy, or the encodings of all windows that were encoded with it would be kept as well.
        self._kept[key] = encoding.clone()
        self._kept_bytes += encoding.nbytes
        while self._kept_bytes > self._most_bytes and len(self._kept) > self._at_once:
            self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes

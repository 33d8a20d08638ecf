"""CUDA graphs: work whose hundreds of small kernels are started at once. Elsewhere the same work simply runs."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyTorch's functions carry incomplete types.

from collections.abc import Callable, Hashable

import torch


class Graphs:
    """The graphs of one stream, each recorded when it is first needed.

    They share their memory, since only one of them runs at a time. A work reads and writes tensors that stay where they
    are, and gives no others away: what it makes on its way belongs to the next graph.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._is_used = device.type == "cuda"
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph | None] = {}
        self._pool = torch.cuda.graph_pool_handle() if self._is_used else None

    def run(self, key: Hashable, work: Callable[[], None]) -> None:
        """Do ``work``, which is always the same for a ``key``.

        The first time it simply runs, so that the libraries below choose their kernels and take their memory; the
        second time it is recorded.
        """
        if not self._is_used:
            work()
        elif key not in self._graphs:
            work()
            self._graphs[key] = None
        else:
            graph = self._graphs[key] or self._record(work)
            self._graphs[key] = graph
            graph.replay()

    def clear(self) -> None:
        """Forget all graphs: what they read or write has moved."""
        if self._is_used:
            # One may be running.
            torch.cuda.synchronize(self._device)
        self._graphs.clear()

    def _record(self, work: Callable[[], None]) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        # What other threads do meanwhile, who wait for results, is none of its business.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            work()
        return graph

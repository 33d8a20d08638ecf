from functools import partial

import pytest

pytest.importorskip("torch")

import torch

from auricle.engines.torch_graphs import Graphs


def test_without_cuda_the_work_is_done_each_time():
    graphs = Graphs(torch.device("cpu"))
    done: list[str] = []
    for name in ("a", "a", "b"):
        graphs.run(name, partial(done.append, name))
    graphs.clear()
    assert done == ["a", "a", "b"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_cuda_a_graph_does_what_the_work_does_and_reads_what_is_there_then():
    device = torch.device("cuda")
    graphs = Graphs(device)
    source, total = torch.zeros(4, device=device), torch.zeros(4, device=device)

    def add() -> None:
        total.add_(source)

    for number in range(5):
        source.fill_(number)
        graphs.run("add", add)
    assert total.tolist() == [10.0] * 4

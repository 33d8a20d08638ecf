"""Muon: momentum whose step is made orthogonal by Newton-Schulz iterations (Jordan et al., 2024)."""

import torch
from torch import Tensor, nn

ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon:
    """Optimizer for matrices; those of one shape are updated together."""

    def __init__(self, parameters: list[nn.Parameter], momentum: float = 0.95, weight_decay: float = 0.01) -> None:
        self._groups: dict[tuple[int, ...], list[nn.Parameter]] = {}
        for parameter in parameters:
            self._groups.setdefault(tuple(parameter.shape), []).append(parameter)
        self.state = {shape: torch.zeros((len(group), *shape)) for shape, group in self._groups.items()}
        self._momentum = momentum
        self._weight_decay = weight_decay

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Update every parameter from its gradient."""
        for shape, group in self._groups.items():
            gradient = torch.stack([parameter.grad for parameter in group])
            average = self.state[shape]
            average.mul_(self._momentum).add_(gradient, alpha=1 - self._momentum)
            direction = gradient * (1 - self._momentum) + average * self._momentum
            steps = _orthogonal(direction) * (0.2 * max(shape) ** 0.5 * lr)
            for parameter, step in zip(group, steps, strict=True):
                parameter.mul_(1 - lr * self._weight_decay).sub_(step)


def _orthogonal(matrices: Tensor) -> Tensor:
    """Return matrices (n, rows, columns) with singular values near 1."""
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if is_tall else matrices
    x = (x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-9)).bfloat16()
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.transpose(1, 2) if is_tall else x).float()

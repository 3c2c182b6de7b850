"""Several learners make the update that one would make of all their rows: sums over learners.

Each holds whole groups; what depends on all rows (means, the cut of the largest, gradients) is
added up over the learners. With one learner every function here is local.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch

from alpamayo.types import FloatArray, IntArray

Reduce = Callable[[FloatArray], FloatArray]


def learners() -> int:
    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if ready else 1


def sum_over_learners(values: FloatArray) -> FloatArray:
    """Elementwise sum of every learner's ``values``, float64."""
    total = torch.as_tensor(np.asarray(values, dtype=np.float64))
    if learners() > 1:
        # NCCL adds up on devices only.
        total = total.to("cuda" if torch.distributed.get_backend() == "nccl" else "cpu")
        torch.distributed.all_reduce(total)
    return total.cpu().numpy()


def largest_of_learners(count: int) -> int:
    """The largest of every learner's ``count``."""
    if learners() == 1:
        return count
    mine = np.zeros(learners())
    mine[torch.distributed.get_rank()] = count
    return int(sum_over_learners(mine).max())


def moments(values: FloatArray, reduce: Reduce) -> tuple[float, float]:
    """Mean and standard deviation of all learners' ``values`` together, in two passes: exact also
    where the mean is large.
    """
    values = np.asarray(values, dtype=np.float64)
    count, total = reduce(np.array([len(values), values.sum()]))
    mean = float(total / max(count, 1))
    (squares,) = reduce(np.array([np.square(values - mean).sum()]))
    return mean, math.sqrt(float(squares) / max(count, 1))


def largest(worth: FloatArray, fraction: float) -> IntArray:
    """This learner's rows among the ``fraction`` of largest ``worth`` [N] over all learners, of
    those above 0; equal ones by learner, then row. In falling order.
    """
    parts = [np.asarray(worth, dtype=np.float32)]
    mine = 0
    if learners() > 1:
        gathered: list[FloatArray] = [np.zeros(0, np.float32)] * learners()
        torch.distributed.all_gather_object(gathered, parts[0])
        parts, mine = gathered, torch.distributed.get_rank()
    everything = np.concatenate(parts)
    kept = max(1, round(len(everything) * fraction))
    first = sum(len(p) for p in parts[:mine])
    order = np.argsort(-everything, kind="stable")[:kept]
    order = order[everything[order] > 0]
    rows: IntArray = order[(order >= first) & (order < first + len(parts[mine]))] - first
    return rows


def add_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Make every gradient the sum over learners; one that is missing counts as zero."""
    if learners() == 1:
        return
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        torch.distributed.all_reduce(parameter.grad)

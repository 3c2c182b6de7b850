"""Plans as tokens: each step is an acceleration token and a curvature token, in this order.

``choice`` is the index of a bin among those its position allows; a token id is that bin's row in
the vocabulary.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from alpamayo.types import FloatArray, IntArray, PlanBatch
from policies.vlm.config import KINDS, ActionConfig

NEVER = (
    -1e9
)  # logit of a bin that a position does not have: its probability is exactly 0 in float32


def accel_values(config: ActionConfig) -> FloatArray:
    """[accel_bins] m/s2, ascending."""
    return np.linspace(config.accel_min_mps2, config.accel_max_mps2, config.accel_bins)


def curvature_values(config: ActionConfig) -> FloatArray:
    """[curvature_bins] 1/m, ascending; finer near zero."""
    u = np.linspace(-1.0, 1.0, config.curvature_bins)
    return np.sign(u) * config.curvature_max_per_m * u**2


class ActionTokenizer:
    """Values <-> bins <-> ids for both kinds of position, from the table in ``ActionConfig``."""

    def __init__(self, config: ActionConfig) -> None:
        self.config = config
        self.values = (accel_values(config), curvature_values(config))
        self.first_ids = (config.accel_first_id, config.curvature_first_id)
        self.bins = tuple(len(v) for v in self.values)
        self.width = max(self.bins)
        # Rows past a kind's last bin repeat it: gathers stay in range, their logits are NEVER.
        self.table = np.stack(
            [np.pad(v, (0, self.width - len(v)), mode="edge") for v in self.values]
        )
        self._edges = tuple((v[1:] + v[:-1]) / 2 for v in self.values)
        self._tables: dict[str, tuple[Tensor, Tensor, list[Tensor]]] = {}
        self._places: dict[tuple[tuple[int, ...], str], tuple[Tensor, Tensor]] = {}

    # ---- numpy: plans of the platform -------------------------------------------------
    def encode_choice(self, actions: FloatArray) -> IntArray:
        """Nearest bins, int64 [..., K, 2], of ``actions`` [..., K, 2]; values out of range clip."""
        columns = [
            np.searchsorted(self._edges[kind], actions[..., kind], side="right")
            for kind in range(KINDS)
        ]
        return np.stack(columns, axis=-1)

    def encode(self, actions: FloatArray) -> IntArray:
        """Token ids int64 [..., 2K] of ``actions`` [..., K, 2]."""
        ids = self.encode_choice(actions) + np.asarray(self.first_ids)
        return ids.reshape(*ids.shape[:-2], -1)

    def decode(self, tokens: IntArray) -> FloatArray:
        """Actions float32 [..., K, 2] of ids [..., 2K]. Ids of another kind are an error."""
        pairs = np.asarray(tokens).reshape(*np.shape(tokens)[:-1], -1, KINDS)
        choice = pairs - np.asarray(self.first_ids)
        if (choice < 0).any() or (choice >= np.asarray(self.bins)).any():
            raise ValueError("tokens hold ids that are not action bins of their position")
        columns = [self.values[kind][choice[..., kind]] for kind in range(KINDS)]
        return np.stack(columns, axis=-1).astype(np.float32)

    def plan(self, tokens: IntArray) -> PlanBatch:
        """The plan that ``tokens`` [B, 2K] stand for, without a trace."""
        actions = self.decode(tokens)
        return PlanBatch(actions[..., 0], actions[..., 1])

    # ---- torch: inside the decoder ----------------------------------------------------
    def ids_of(self, choice: Tensor, positions: Tensor | None = None) -> Tensor:
        """Ids of bins ``choice`` [..., M] at ``positions`` [M] (default 0..M-1; [B, M] where rows
        differ)."""
        first, _, _ = self._on(choice.device)
        return choice + first[self._kinds_at(choice, positions)]

    def choice_of(self, tokens: Tensor, positions: Tensor | None = None) -> Tensor:
        """Bins of ids ``tokens`` [..., M] at ``positions`` [M] (default 0..M-1; [B, M] where rows
        differ)."""
        first, _, _ = self._on(tokens.device)
        return tokens - first[self._kinds_at(tokens, positions)]

    def values_at(self, positions: Tensor) -> Tensor:
        """float32 [M, width] physical value of every bin at ``positions`` [M] (or [B, M])."""
        _, table, _ = self._on(positions.device)
        return table[positions % KINDS]

    def tables_of(self, at: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
        """(first ids int64 [M], values float32 [M, width]) of the positions ``at``; made once."""
        key = (at, str(device))
        if key not in self._places:
            with torch.inference_mode(False):
                first, table, _ = self._on(device)
                kinds = torch.tensor([position % KINDS for position in at], device=device)
                self._places[key] = first[kinds], table[kinds]
        return self._places[key]

    def expected(self, logits: Tensor, positions: Tensor | None = None) -> Tensor:
        """Soft-argmax [..., M] of ``logits`` [..., M, width]: the mean value under the softmax."""
        if positions is None:
            positions = torch.arange(logits.shape[-2], device=logits.device)
        return (logits.float().softmax(-1) * self.values_at(positions)).sum(-1)

    def nearest_choice(self, values: Tensor, positions: Tensor | None = None) -> Tensor:
        """Nearest bins [..., M] of physical ``values`` [..., M]."""
        kinds = self._kinds_at(values, positions)
        _, _, tables = self._on(values.device)
        found = [torch.bucketize(values.float(), edges, right=True) for edges in tables]
        return torch.where(kinds == 0, found[0], found[1])

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor, list[Tensor]]:
        """First ids, values and bin edges as tensors there; copied once, so that decoding never
        waits for the host."""
        key = str(device)
        if key not in self._tables:
            with torch.inference_mode(False):
                self._tables[key] = (
                    torch.tensor(self.first_ids, device=device),
                    torch.as_tensor(self.table, dtype=torch.float32, device=device),
                    [
                        torch.as_tensor(edges, dtype=torch.float32, device=device)
                        for edges in self._edges
                    ],
                )
        return self._tables[key]

    def _kinds_at(self, like: Tensor, positions: Tensor | None) -> Tensor:
        if positions is None:
            positions = torch.arange(like.shape[-1], device=like.device)
        return positions % KINDS

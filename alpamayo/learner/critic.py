"""A value head beside the policy: the expected return, read from the last prefix position. Never
sent to workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from policies.vlm.config import VLMConfig


class Critic(nn.Module):
    """Two layers on the policy's hidden state [B, H] -> value [B]; starts at zero everywhere.

    Its gradient stops at the hidden state: on a tiny trunk the value error would otherwise drown
    the policy's.
    """

    def __init__(self, config: VLMConfig) -> None:
        super().__init__()
        self.hidden = nn.Linear(config.hidden_size, config.hidden_size)
        self.out = nn.Linear(config.hidden_size, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.out(nn.functional.silu(self.hidden(hidden.detach().float()))).squeeze(-1)

"""Whole plans, and text, decoded behind a prefix."""

from __future__ import annotations

from torch import Tensor

from policies.vlm.decode.draw import Pick
from policies.vlm.decode.loop import run
from policies.vlm.decode.modes import (
    causal_rounds,
    filled_after,
    fixed_rounds,
    places_in_round,
    speculative_rounds,
    threshold_rounds,
)
from policies.vlm.decode.state import (
    Decoded,
    Frozen,
    Network,
    PlanTokens,
    TextTokens,
    index_of,
    new_decoded,
)
from policies.vlm.model import NLDModel
from policies.vlm.schedule import CAUSAL_MODES, CommitSchedule, DecodeConfig
from policies.vlm.text import Adapter, KVCache


def prefill_plan(
    model: NLDModel,
    embeds: Tensor,
    length: int,
    config: DecodeConfig,
    frozen: Frozen | None = None,
) -> tuple[Tensor, KVCache, Tensor | None]:
    """Prompt embeddings [B, N, H] read in: (last state [B, H], cache, first round).

    What the block looks like in the first round of diffusion is known beforehand, so that round
    rides along with the prompt in one forward; its hidden states [B, M, H] are what ``decode_plan``
    takes as ``first`` (None: the mode is causal, nothing rides).
    """
    reserve = config.reserve(length)
    if config.mode in CAUSAL_MODES or (frozen is not None and min(frozen.counts) == length):
        return (*model.prefill(embeds, reserve), None)
    if config.mode == "threshold":
        at = tuple(range(length))
    else:
        at = places_in_round(_schedules(config, length, frozen), 0)
    block = model.masked_block(len(embeds), length)
    if frozen is not None:
        block = frozen.tokens.to(block.device)
    return model.prefill_block(embeds, block, index_of(at, str(block.device)), reserve)


def decode_plan(
    network: Network,
    hidden: Tensor,
    cache: KVCache,
    length: int,
    config: DecodeConfig,
    *,
    uniforms: Tensor | None = None,
    frozen: Frozen | None = None,
    adapter: Adapter | None = None,
    record: bool = False,
    ask: bool = True,
    first: Tensor | None = None,
) -> Decoded:
    """Decode ``length`` action tokens behind a prefix: its last state ``hidden`` [B, H] and cache.

    ``uniforms`` [B, L] in (0, 1) ([B, L, L] for ``threshold``); ``frozen`` leading tokens keep
    their place; ``first`` as from ``prefill_plan``. The cache needs room for
    ``config.reserve(length)`` more.
    """
    tokens = PlanTokens(network)
    pick = Pick(config.select, config.temperature, uniforms)
    out = new_decoded(tokens, len(hidden), length, hidden.device, frozen)
    counts = frozen.counts if frozen is not None else (0,)
    if min(counts) == length:
        return out
    if config.mode == "ar":
        proposals = causal_rounds(tokens, hidden, cache, out, counts)
    elif config.mode == "self_speculation":
        proposals = speculative_rounds(
            tokens, hidden, cache, out, pick, config.block_size, adapter, counts
        )
    elif config.mode == "threshold":
        limit = config.max_rounds or length
        proposals = threshold_rounds(tokens, cache, out, config.threshold, limit, ask, first)
    else:
        proposals = fixed_rounds(tokens, cache, out, _schedules(config, length, frozen), first)
    return run(tokens, out, proposals, pick, record)


def _schedules(config: DecodeConfig, length: int, frozen: Frozen | None) -> list[CommitSchedule]:
    """The fixed schedule of every row, or one if all rows have the same."""
    counts = frozen.counts if frozen is not None else (0,)
    counts = counts[:1] if len(set(counts)) == 1 else counts
    found = [CommitSchedule.of(config, length, count) for count in counts]
    return [schedule for schedule in found if schedule is not None]


def decode_diffusion(
    network: Network,
    cache: KVCache,
    schedule: CommitSchedule,
    *,
    select: str = "sample",
    temperature: float = 1.0,
    uniforms: Tensor | None = None,
    record: bool = False,
) -> Decoded:
    """Denoise one block by any fixed ``schedule``; ``uniforms`` [B, L] in (0, 1)."""
    tokens = PlanTokens(network)
    batch, device = cache.keys.shape[1], cache.keys.device
    out = new_decoded(tokens, batch, len(schedule.commit_round), device)
    proposals = fixed_rounds(tokens, cache, out, [schedule])
    return run(tokens, out, proposals, Pick(select, temperature, uniforms), record)


def decode_text(
    network: Network,
    hidden: Tensor,
    cache: KVCache,
    length: int,
    stop_id: int,
    *,
    pick: Pick | None = None,
    block: int = 32,
    adapter: Adapter | None = None,
) -> tuple[Tensor, Tensor]:
    """(ids int64 [B, length], tokens int64 [B] before the first ``stop_id``) of text behind a
    prefix, with the law of the AR head. The cache needs room for ``length + block`` more.
    """
    tokens, pick = TextTokens(network), pick or Pick("greedy")
    out = new_decoded(tokens, len(hidden), length, hidden.device)
    proposals = speculative_rounds(
        tokens, hidden, cache, out, pick, block, adapter, stop_id=stop_id
    )
    ids = filled_after(run(tokens, out, proposals, pick).tokens, stop_id)
    return ids, (ids != stop_id).long().cumprod(1).sum(1)

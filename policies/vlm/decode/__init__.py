"""Decoding: one loop for every mode.

A mode is a generator of ``Proposal``: which positions the network has just judged, and how sure it
is. The loop draws tokens, commits them and asks the generator for the next proposal. Every token is
drawn by inverse CDF from what its position allows, with a uniform number that the caller supplies,
so a row's plan depends on its own numbers only. Its log-probability is recorded given exactly what
was visible when it was committed; ``replay`` recomputes the same number in one packed forward.

``state`` is what has been decided, ``draw`` decides, ``modes`` are the ways of decoding, ``loop``
runs them, ``plans`` is what callers use.
"""

from __future__ import annotations

from policies.vlm.decode.draw import Pick, draw, log_probs
from policies.vlm.decode.loop import run
from policies.vlm.decode.modes import Proposal, threshold_rounds
from policies.vlm.decode.plans import decode_diffusion, decode_plan, decode_text, prefill_plan
from policies.vlm.decode.state import Decoded, Frozen, Network, PlanTokens, TextTokens, new_decoded

__all__ = [
    "Decoded",
    "Frozen",
    "Network",
    "Pick",
    "PlanTokens",
    "Proposal",
    "TextTokens",
    "decode_diffusion",
    "decode_plan",
    "decode_text",
    "draw",
    "log_probs",
    "new_decoded",
    "prefill_plan",
    "run",
    "threshold_rounds",
]

"""The inference engine: the same weights and the same decode functions, run fast.

``network`` runs the stack on fused weights and a static cache, ``ops`` says how (plain torch, or
Triton on CUDA), ``engine`` captures whole calls as CUDA graphs.
"""

from __future__ import annotations

from policies.vlm.engine.engine import Engine, EngineConfig
from policies.vlm.engine.network import EngineNetwork

__all__ = ["Engine", "EngineConfig", "EngineNetwork"]

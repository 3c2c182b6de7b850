"""Ways of decoding in closed loop: what a policy is told of its last plan, and what it makes of
it."""

from __future__ import annotations

import numpy as np
import pytest

from alpamayo.config import decode_options, load_config
from alpamayo.evaluation.command import describe_decoding
from alpamayo.evaluation.runner import EpisodeLog, run_episodes
from alpamayo.paths import resolve_policy
from policies.registry import load_policy
from policies.vlm.schedule import FROZEN
from scenarios.suites import load_suite


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["executed_first", "ar"])
def test_what_drives_while_the_planner_computes_is_given_to_it(mode: str) -> None:
    """A latency of one plan step: the step that drives until the new plan is ready is the first one
    of the last plan, in every world, whatever slot or batch it is in."""
    words = ["policy.decode.frozen=latency", "policy.decode.select=greedy", "sim.latency_s=0.4"]
    config = load_config("eval", None, [*words, f"policy.decode.mode={mode}"])
    policy = load_policy(
        resolve_policy("shipped"), **decode_options(config.policy.decode, config.sim)
    )
    actions = policy.model.actions  # type: ignore[attr-defined]
    logs: dict[int, EpisodeLog] = {}
    scenarios = load_suite("heldout").draw(5)
    results = run_episodes(policy, scenarios, config.sim, batch=3, on_replay=logs.__setitem__)
    assert all(r.end != "failed" for r in results) and len(logs) == 5
    for log in logs.values():
        trace = log.trace
        assert trace is not None and len(log.actions) > 3
        given = trace.commit_round == FROZEN
        assert not given[0].any() and given[1:, :2].all() and not given[1:, 2:].any()
        # The tokens of the given step are what the last plan started with ...
        assert np.array_equal(trace.tokens[1:, :2], actions.encode(log.actions[:-1, :1]))
        # ... and the plan handed out is what was decoded behind it.
        block = actions.decode(trace.tokens)
        assert log.actions[0] == pytest.approx(block[0])
        assert log.actions[1:, :-1] == pytest.approx(block[1:, 1:])
        assert log.actions[1:, -1] == pytest.approx(block[1:, -1])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Block diffusion: the action block is committed in 2 fixed rounds; sample"),
        (["policy.decode.mode=ar"], "Autoregressive: one action token at a time; sample"),
        (
            ["policy.decode.mode=self_speculation", "policy.decode.block_size=8"],
            "Self-speculation: 8 action tokens drafted at once, verified autoregressively; sample",
        ),
    ],
)
def test_a_report_says_how_plans_were_decoded(words: list[str], sentence: str) -> None:
    config = load_config("eval", None, words)
    told = describe_decoding(decode_options(config.policy.decode, config.sim))
    assert told.startswith(sentence)

"""The warm start's validation loss of several policies on the same recorded driving: whether
post-training kept both decoding modes alive.

.venv/bin/python benchmarks/validation_loss.py shipped runs/train-.../checkpoints/latest

The perturbed expert drives the validation episodes of configs/train/warmstart.yaml (those after
the training episodes; ``--suite``, ``--episodes`` for others); every policy is scored with the same
masks. Nats per token; ``executed``: the driven step's tokens where the whole block is masked.
``joint`` = AR + 0.3 x diffusion, and its change against the first policy, in per cent.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from alpamayo.config import WarmstartConfig, load_config
from alpamayo.imitation import WarmstartTrainer
from alpamayo.imitation_data import ExpertNoise, ImitationData, record_expert
from alpamayo.paths import resolve_policy
from policies.vlm import VLMPolicy, from_pretrained
from scenarios.suites import load_training_suite


def record(config: WarmstartConfig, folder: Path) -> ImitationData:
    suite = load_training_suite(config.suite)
    scenarios = suite.draw(config.validation_episodes, start=config.episodes)
    disturbance = config.expert
    noise = ExpertNoise(
        disturbance.probability, disturbance.accel_mps2, disturbance.lateral_accel_mps2
    )
    processes = config.threads
    record_expert(scenarios, config.sim, noise, folder, processes=processes, seed=config.seed)
    return ImitationData(folder)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("policies", nargs="+", metavar="PATH|shipped")
    parser.add_argument("--suite", help="of split train (default: the warm start's)")
    parser.add_argument("--episodes", type=int, help="(default: the warm start's, 180)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    config: WarmstartConfig = load_config("warmstart", "configs/train/warmstart.yaml")
    config = replace(
        config,
        threads=1,
        suite=args.suite or config.suite,
        validation_episodes=args.episodes or config.validation_episodes,
    )
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = record(config, Path(folder))
        for name in args.policies:
            policy = VLMPolicy(from_pretrained(resolve_policy(name)))
            ar, diffusion, executed = WarmstartTrainer(policy, config).validate(data)
            joint = ar + config.diffusion_weight * diffusion
            rows[name] = {"ar": ar, "diffusion": diffusion, "executed": executed, "joint": joint}
    if args.json:
        print(json.dumps({"decisions": len(data), "policies": rows}))
        return
    print(f"{len(data)} decisions, suite {config.suite}")
    print("| policy | AR | diffusion | executed | joint | change |\n|---|---|---|---|---|---|")
    first = next(iter(rows.values()))["joint"]
    for name, row in rows.items():
        cells = " | ".join(f"{value:.3f}" for value in row.values())
        print(f"| {name} | {cells} | {row['joint'] / first - 1:+.1%} |")


if __name__ == "__main__":
    main()

"""The warm start as one run: record the expert, train until the validation loss stops falling, keep
the best weights.

The run directory holds ``policy/`` (the published layout), ``curve.jsonl`` (one line per epoch),
``expert.json`` (how the perturbed expert drove the recorded episodes) and ``episodes.jsonl`` (one
line for each of them).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alpamayo.imitation_data import ExpertNoise, ImitationData, record_expert
from alpamayo.log import MetricsWriter
from alpamayo.metrics import is_failure
from alpamayo.types import EpisodeResult

if TYPE_CHECKING:
    from alpamayo.config import WarmstartConfig
    from alpamayo.run_dir import RunDir
    from policies.vlm import NLDModel

EPISODES_FILE = "episodes.jsonl"
EXPERT_FILE = "expert.json"  # written last: its presence says that the recordings are complete


@dataclass(frozen=True)
class WarmstartResult:
    """``policy``: the checkpoint; ``best``: its line of the curve; ``expert``: the expert's
    figures.
    """

    policy: Path
    best: dict[str, float]
    epochs: int
    expert: dict[str, float]


def warmstart(
    config: WarmstartConfig, run: RunDir, say: Callable[[str], None] = print
) -> WarmstartResult:
    """Run the whole warm start in ``run``; ``say`` gets one plain line per stage and epoch."""
    from alpamayo.imitation import EpochRow, WarmstartTrainer
    from policies.vlm import VLMPolicy, save_pretrained

    folder = Path(config.recordings) if config.recordings else run.path / "data"
    if not (folder / EXPERT_FILE).is_file():
        say(f"the expert drives {config.episodes} + {config.validation_episodes} episodes")
        record(config, folder)
    expert = json.loads((folder / EXPERT_FILE).read_text(encoding="utf-8"))
    run.write_json(EXPERT_FILE, expert)
    if (folder / EPISODES_FILE).is_file():  # recordings of an older version have none
        run.write_text(EPISODES_FILE, (folder / EPISODES_FILE).read_text(encoding="utf-8"))
    data = {name: ImitationData(folder / name) for name in ("train", "validation")}
    say(
        f"{len(data['train'])} training and {len(data['validation'])} validation decisions; "
        f"the perturbed expert failed in {expert['failure_rate']:.1%} of its episodes"
    )
    model = _start(config)
    trainer = WarmstartTrainer(VLMPolicy(model), config)
    target = run.path / "policy"
    best: dict[str, float] = {}
    with (
        MetricsWriter(run.metrics_file, run.tensorboard_dir) as writer,
        (run.path / "curve.jsonl").open("w", encoding="utf-8") as curve,
    ):

        def on_epoch(row: EpochRow) -> None:
            curve.write(json.dumps(asdict(row)) + "\n")
            curve.flush()
            writer.write(row.epoch, {f"warmstart/{k}": v for k, v in asdict(row).items()})
            say(
                f"epoch {row.epoch}: train {row.train_loss:.4f}, validation {row.val_loss:.4f} "
                f"(AR {row.val_ar:.4f}, diffusion {row.val_diffusion:.4f}, executed step "
                f"{row.val_executed:.4f}), {row.seconds:.0f} s"
            )

        def on_best(row: EpochRow) -> None:
            best.clear()
            best.update(asdict(row))
            save_pretrained(model, target)

        rows = trainer.run(data["train"], data["validation"], on_epoch, on_best)
    if not config.recordings:
        shutil.rmtree(folder)  # gigabytes of pictures that one command makes again
    return WarmstartResult(target, best, len(rows), expert)


def _start(config: WarmstartConfig) -> NLDModel:
    from policies.vlm import NLDModel, VLMConfig, from_pretrained

    if config.init:
        return from_pretrained(config.init)
    architecture = VLMConfig.preset(config.size)
    architecture = architecture.with_plan(config.sim.plan_steps, config.sim.plan_step_s)
    return NLDModel(architecture).init_weights(config.seed)


def record(config: WarmstartConfig, folder: Path) -> None:
    """Let the perturbed expert drive; ``folder`` then holds ``train/``, ``validation/`` and the
    expert's figures.
    """
    from scenarios.suites import load_training_suite

    scenarios = load_training_suite(config.suite).draw(config.episodes + config.validation_episodes)
    noise = ExpertNoise(
        config.expert.probability, config.expert.accel_mps2, config.expert.lateral_accel_mps2
    )
    parts = {"train": scenarios[: config.episodes], "validation": scenarios[config.episodes :]}
    results = {
        name: record_expert(
            part, config.sim, noise, folder / name, processes=config.threads, seed=config.seed
        )
        for name, part in parts.items()
    }
    rows = (json.dumps(asdict(row), default=float) + "\n" for row in results["train"])
    (folder / EPISODES_FILE).write_text("".join(rows), encoding="utf-8")
    figures = json.dumps(expert_figures(results["train"]), indent=2)
    (folder / EXPERT_FILE).write_text(figures + "\n", encoding="utf-8")


def expert_figures(results: list[EpisodeResult]) -> dict[str, Any]:
    """Rates over the recorded episodes, the perturbation included; failed-to-run episodes count as
    failures.
    """
    count = len(results)
    return {
        "episodes": count,
        "failure_rate": sum(is_failure(r) for r in results) / count,
        "collision_rate": sum(r.collision for r in results) / count,
        "off_road_rate": sum(r.off_road for r in results) / count,
        "red_light_rate": sum(r.red_light for r in results) / count,
        "broken": sum(r.end == "failed" for r in results),
        "mean_progress_m": sum(r.progress_m for r in results) / count,
        "long_tail_share": sum(not r.nominal for r in results) / count,
    }

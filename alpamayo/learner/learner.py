"""RLlib TorchLearner that post-trains on rollout columns: values, what to learn from, minibatches,
updates.

RLlib builds, places and groups the learners; its batches, connectors and forward passes are not
used, so images stay uint8 until they reach a minibatch and nothing is copied on the way. With
several learners each one holds whole groups, and together they make the update that one would.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.learner.training_data import TrainingData

from alpamayo.config import LearnerConfig, RunConfig
from alpamayo.learner import objective
from alpamayo.learner.algorithms import ALGORITHMS, Columns, Prepared
from alpamayo.learner.lora import for_checkpoint, from_checkpoint
from alpamayo.learner.module import PostTrainModule
from alpamayo.learner.parallel import largest, largest_of_learners, moments, sum_over_learners
from alpamayo.learner.strategy import Replicated, Sharded, Strategy, clip_gradients
from alpamayo.rollout.backend import INPUT_KEYS
from alpamayo.rollout.columns import RolloutBatch
from alpamayo.types import FloatArray

CHUNK = 256  # rows of a forward without gradients


def scheduled(settings: LearnerConfig, updates: int) -> LearnerConfig:
    """``settings`` of the update after ``updates`` others: the expert is heard less and less."""
    if not settings.expert_until:
        return settings
    share = updates / (settings.expert_until * settings.iterations)
    return replace(settings, expert_weight=settings.expert_weight * max(1.0 - share, 0.0))


def pieces(rows: np.ndarray, settings: LearnerConfig) -> list[np.ndarray]:
    """``rows`` of a minibatch in ``accumulate`` parts, cut where the terms that take every so many
    rows begin anew, so that together they take the same ones.
    """
    fractions = (settings.kl_fraction, settings.joint_fraction)
    stride = math.lcm(*(objective.stride(fraction) for fraction in fractions))
    cuts = np.linspace(0, len(rows), settings.accumulate + 1)[1:-1] / stride
    return np.split(rows, (np.round(cuts) * stride).astype(np.int64))


class PostTrainLearner(TorchLearner):
    """One update = ``epochs`` passes over the valid decisions of one iteration's rollouts."""

    def build(self) -> None:
        run: RunConfig = self.config.env_config["run"]
        self.run_settings: LearnerConfig = run.learner
        self.settings = run.learner  # of the present update, see ``scheduled``
        self.algorithm = ALGORITHMS[self.settings.algorithm]
        self.seed = run.seed
        self.updates = 0
        self.value_scale = 1.0
        self.skipped_in_a_row = 0
        self.strategy: Strategy = Replicated()
        torch.set_num_threads(self.settings.threads)
        super().build()

    @property
    def post(self) -> PostTrainModule:
        return self.module[DEFAULT_MODULE_ID]

    # RLlib's hooks -------------------------------------------------------------------------
    def _make_module(self) -> Any:
        module = super()._make_module()
        if self.run_settings.strategy == "fsdp2":
            networks = module[DEFAULT_MODULE_ID].children()
            self.strategy = Sharded(networks, torch.device(self._device))
        return module

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        groups: list[dict[str, Any]] = [
            {"params": parameters, "lr": self._rate(part)}
            for part, parameters in self._parts(self._module[module_id]).items()
        ]
        # No decay: the KL term already ties the weights to where they started.
        optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
        parameters = [p for group in groups for p in group["params"]]
        self.register_optimizer(module_id=module_id, optimizer=optimizer, params=parameters)

    @staticmethod
    def _parts(module: PostTrainModule) -> dict[str, list[torch.nn.Parameter]]:
        """Trainable parameters of ``policy`` and, if there is one, ``critic``."""
        parts: dict[str, list[torch.nn.Parameter]] = {}
        for name, parameter in module.trainable().items():
            parts.setdefault(name.partition(".")[0], []).append(parameter)
        return parts

    def _rate(self, part: str) -> float:
        return self.settings.value_lr if part == "critic" else self.settings.lr

    def _schedule_rates(self) -> float:
        """Set the learning rates of this update, a function of ``updates``; the policy's."""
        share = min(self.updates / max(self.run_settings.iterations - 1, 1), 1.0)
        factor = 1.0 + share * (self.settings.lr_end - 1.0)
        parts = self._parts(self.post)
        groups = self.get_optimizer(DEFAULT_MODULE_ID).param_groups
        for part, group in zip(parts, groups, strict=True):
            group["lr"] = factor * self._rate(part)
        return factor * self.settings.lr

    def _make_modules_ddp_if_necessary(self) -> None:
        pass  # see alpamayo.learner.strategy

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: Any
    ) -> torch.Tensor:
        return self.algorithm.loss(self.module[module_id], batch, self.settings)[0]

    def update(  # type: ignore[override]
        self,
        *,
        training_data: TrainingData,
        minibatches: int | None = None,
        timesteps: Any = None,
        **_: Any,
    ) -> dict[str, float]:
        """Learn from ``training_data.batch`` (a RolloutBatch); returns mean losses and times.

        ``minibatches`` per epoch overrides ``learner.minibatch``: several learners must make
        equally many steps.
        """
        rollout: RolloutBatch = training_data.batch
        started = time.perf_counter()
        cpu = time.process_time()
        self.settings = scheduled(self.run_settings, self.updates)
        data = self.prepare(rollout)
        columns, metrics = data.columns, data.metrics
        # What has no finite worth is learned from, so that it is found out and counted.
        worth = np.where(np.isfinite(data.worth), data.worth, np.inf)
        kept = largest(worth, self.settings.keep_fraction)
        if self.settings.importance_cap > 0 and "log_prob" in columns:
            columns["old_log_prob"] = self._old_log_prob(columns, kept)
        prepared = time.perf_counter()
        told: dict[str, list[float]] = {}
        steps = 0
        metrics["learning_rate"] = self._schedule_rates()
        if self.run_settings.expert_weight > 0:
            metrics["expert_weight"] = self.settings.expert_weight
        for rows in self._minibatches(kept, minibatches):
            for name, value in self._step(columns, rows).items():
                told.setdefault(name, []).append(value)
            steps += 1
            if self.skipped_in_a_row >= self.settings.max_skipped:
                break
        else:
            self._count_update()
        metrics |= {name: float(np.mean(values)) for name, values in told.items()}
        metrics["decisions_trained"] = float(len(kept))
        metrics["decisions_left_out"] = float(rollout.num_decisions - len(kept))
        metrics["time/prepare_s"] = prepared - started
        metrics["time/update_s"] = time.perf_counter() - prepared
        metrics["time/learner_cpu_s"] = time.process_time() - cpu
        metrics["steps"] = float(steps)
        metrics["skipped"] = sum(told.get("skipped", ()))  # how many, not their share
        metrics["skipped_in_a_row"] = float(self.skipped_in_a_row)
        return metrics

    def _count_update(self) -> None:
        self.updates += 1
        self._weights_seq_no = self.updates
        every = self.settings.reference_every
        if every and self.updates % every == 0:
            self.post.refresh_reference()

    # One update ------------------------------------------------------------------------------
    def prepare(self, rollout: RolloutBatch) -> Prepared:
        """What the algorithm learns from; the critic's targets are in its own units."""
        value = None
        if self.post.critic is not None:
            value = rollout.value_grid(
                self._values(rollout, rollout.flat), self._values(rollout, rollout.final)
            )
        prepared = self.algorithm.prepare(rollout, value, self.settings, sum_over_learners)
        if value is not None:
            returns = prepared.columns["return_"]
            prepared.columns["return_"] = (returns / self._rescale(returns)).astype(np.float32)
        return prepared

    def _rescale(self, returns: FloatArray) -> float:
        """The critic learns returns of about unit size; its scale follows theirs slowly."""
        mean_square = moments(np.square(returns), sum_over_learners)[0]
        size = max(float(np.sqrt(mean_square)), 1e-3)
        first = self.updates == 0
        if not math.isfinite(size):
            return self.value_scale  # every minibatch of this update will be skipped
        self.value_scale = size if first else 0.95 * self.value_scale + 0.05 * size
        return self.value_scale

    def _values(self, rollout: RolloutBatch, columns: Columns) -> FloatArray:
        """The critic's value [n] of every row of ``columns``, in units of reward."""
        rows = np.arange(len(columns["prompt_ids"]) if columns else 0)
        source = columns if len(rows) else rollout.flat  # a learner without any computes along
        inputs = {k: v for k, v in source.items() if k in INPUT_KEYS}
        out = np.zeros(len(rows), dtype=np.float32)
        for part, value in self._in_chunks(inputs, rows, objective.state_value):
            out[part] = value
        return out * self.value_scale

    def _old_log_prob(self, columns: Columns, rows: np.ndarray) -> FloatArray:
        """[N, L] under the weights before the update, in ``rows``."""
        out = np.zeros(columns["log_prob"].shape, dtype=np.float32)
        known = partial(objective.trace_log_prob, settings=self.settings)
        for part, value in self._in_chunks(columns, np.sort(rows), known):
            out[part] = value
        return out

    @torch.no_grad()
    def _in_chunks(
        self, columns: Columns, rows: np.ndarray, function: Any
    ) -> Iterator[tuple[np.ndarray, FloatArray]]:
        """(some of ``rows``, ``function(module, those)``) until all are done."""
        count = -(-len(rows) // CHUNK)
        if self.strategy.sharded:
            count = largest_of_learners(count)
        for part in np.array_split(rows, count) if count else ():
            batch = self._tensors(columns, self._some(part))
            with self._autocast():
                value = self.strategy.run(function, self.post, batch)
            yield part, value[: len(part)].float().cpu().numpy()

    def _some(self, rows: np.ndarray) -> np.ndarray:
        """``rows``, or where a learner has none but must compute along with the others, the first
        of all.
        """
        return rows if len(rows) or not self.strategy.sharded else np.zeros(1, dtype=np.int64)

    def _minibatches(self, rows: np.ndarray, minibatches: int | None) -> Iterator[np.ndarray]:
        """Parts of ``rows``, the kept decisions, ``epochs`` times over.

        The order depends on run seed and update only, so that a resumed run repeats it.
        """
        parts = minibatches or max(1, round(len(rows) / self.settings.minibatch))
        for epoch in range(self.settings.epochs):
            key = [self.seed, self.updates, epoch, self._learner_index]
            order = np.random.default_rng(key).permutation(len(rows))
            # Sorted rows read the columns front to back.
            yield from (np.sort(rows[part]) for part in np.array_split(order, parts))

    def _tensors(self, columns: Columns, rows: np.ndarray) -> dict[str, torch.Tensor]:
        return {k: torch.from_numpy(v[rows]).to(self._device) for k, v in columns.items()}

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.settings.dtype == "float32":
            return contextlib.nullcontext()
        return torch.autocast(torch.device(self._device).type, dtype=torch.bfloat16)

    def _step(self, columns: Columns, rows: np.ndarray) -> dict[str, float]:
        """One step of the optimizer on ``rows`` of every learner; metrics are means over the parts
        that this one learned from.
        """
        optimizer = self.get_optimizer(DEFAULT_MODULE_ID)
        optimizer.zero_grad(set_to_none=True)
        total = int(sum_over_learners(np.array([len(rows)]))[0])
        if not total:
            return {}
        metrics: dict[str, float] = {}
        for part in pieces(rows, self.settings):
            for name, value in self._backward(columns, part, total).items():
                metrics[name] = metrics.get(name, 0.0) + value * len(part) / len(rows)
        self.strategy.add_gradients(self.post.trainable().values())
        # Apart from each other: a critic that is still far off must not shrink the policy's steps.
        norms = {
            part: clip_gradients(parameters, self.settings.max_grad_norm)
            for part, parameters in self._parts(self.post).items()
        }
        # One bad minibatch must not poison the optimizer's state; it is counted, not hidden.
        told = (*norms.values(), metrics.get("loss", 0.0))
        bad = not all(math.isfinite(number) for number in told)
        if sum_over_learners(np.array([float(bad)]))[0]:
            self.skipped_in_a_row += 1
            return {"skipped": 1.0}
        self.skipped_in_a_row = 0
        optimizer.step()
        return metrics | {"grad_norm": norms["policy"], "skipped": 0.0}

    def _backward(self, columns: Columns, rows: np.ndarray, total: int) -> dict[str, float]:
        """Add the gradient of ``rows``' share in the mean loss of ``total`` rows."""
        some = self._some(rows)
        if not len(some):  # another learner, or another part, may have rows where this has none
            return {}
        with self._autocast():
            loss, metrics = self.strategy.run(
                self.algorithm.loss, self.post, self._tensors(columns, some), self.settings
            )
        (loss * (len(rows) / total)).backward()
        return metrics | {"loss": float(loss.detach())} if len(rows) else {}

    # Checkpoints ------------------------------------------------------------------------------
    def published(self, *, trainable_only: bool) -> dict[str, torch.Tensor] | None:
        """What a worker needs, see PostTrainModule.policy_tensors; of the first learner only."""
        return self._whole(self.post.policy_tensors(trainable_only=trainable_only))

    def training_state(
        self,
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], int] | None:
        """(learned tensors, optimizer tensors named ``<slot>.<parameter>``, updates made), copies
        on the CPU; of the first learner only.
        """
        optimizer = self.get_optimizer(DEFAULT_MODULE_ID)
        moments = self._whole(
            {
                f"{slot}.{name}": tensor
                for name, parameter in self.post.trainable().items()
                for slot, tensor in optimizer.state.get(parameter, {}).items()
            },
            copy=True,
        )
        learned = self._whole(self.post.learned_tensors(), copy=True)
        if learned is None or moments is None:
            return None
        learned = for_checkpoint(learned, self.settings)
        moments["scale.value"] = torch.tensor(self.value_scale, dtype=torch.float64)
        return learned, moments, self.updates

    def _whole(
        self, tensors: dict[str, torch.Tensor], *, copy: bool = False
    ) -> dict[str, torch.Tensor] | None:
        """Whole ``tensors``, one gathered after the other, on the CPU if cut in parts or asked for
        a ``copy``; None for all learners but the first.
        """
        first = self._learner_index == 0
        out: dict[str, torch.Tensor] = {}
        for name, tensor in tensors.items():
            whole = self.strategy.whole(tensor)
            if first:
                apart = copy or self.strategy.sharded
                out[name] = whole.to("cpu", copy=True) if apart else whole
        return out if first else None

    def load_training_state(
        self, learned: dict[str, torch.Tensor], moments: dict[str, torch.Tensor], updates: int
    ) -> None:
        """Inverse of ``training_state``, whatever strategy it comes from."""
        self.post.load_learned(from_checkpoint(learned, self.settings), self.strategy.part)
        optimizer = self.get_optimizer(DEFAULT_MODULE_ID)
        optimizer.state.clear()
        trainable = self.post.trainable()
        for key, tensor in moments.items():
            slot, name = key.split(".", 1)
            if slot == "scale":
                self.value_scale = float(tensor)
                continue
            if slot == "step":
                held = tensor.clone()
            else:
                held = self.strategy.part(tensor.clone(), trainable[name])
            optimizer.state[trainable[name]][slot] = held
        self.updates = self._weights_seq_no = updates

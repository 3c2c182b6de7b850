"""RLlib TorchLearner that post-trains on rollout columns: values, what to learn from, minibatches,
updates.

RLlib builds, places and groups the learners; its batches, connectors and forward passes are not
used, so images stay uint8 until they reach a minibatch and nothing is copied on the way. With
several learners each one holds whole groups, and together they make the update that one would.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.learner.training_data import TrainingData

from alpamayo.config import LearnerConfig, RunConfig
from alpamayo.learner import objective
from alpamayo.learner.algorithms import ALGORITHMS, Columns, Prepared
from alpamayo.learner.module import PostTrainModule
from alpamayo.learner.parallel import average_gradients, largest, moments, sum_over_learners
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
        torch.set_num_threads(self.settings.threads)
        super().build()

    @property
    def post(self) -> PostTrainModule:
        return self.module[DEFAULT_MODULE_ID]

    # RLlib's hooks -------------------------------------------------------------------------
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
        # The objective calls parts of the module directly; gradients are averaged in
        # average_gradients instead.
        pass

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
        kept = largest(data.worth, self.settings.keep_fraction)
        if self.settings.importance_cap > 0 and "log_prob" in columns:
            columns["old_log_prob"] = self._old_log_prob(columns, kept)
        prepared = time.perf_counter()
        sums: dict[str, float] = {}
        steps = 0
        metrics["learning_rate"] = self._schedule_rates()
        if self.run_settings.expert_weight > 0:
            metrics["expert_weight"] = self.settings.expert_weight
        for rows in self._minibatches(kept, minibatches):
            for name, value in self._step(self._tensors(columns, rows), len(rows)).items():
                sums[name] = sums.get(name, 0.0) + value
            steps += 1
        self._count_update()
        metrics |= {name: total / max(steps, 1) for name, total in sums.items()}
        metrics["decisions_trained"] = float(len(kept))
        metrics["decisions_left_out"] = float(rollout.num_decisions - len(kept))
        metrics["time/prepare_s"] = prepared - started
        metrics["time/update_s"] = time.perf_counter() - prepared
        metrics["time/learner_cpu_s"] = time.process_time() - cpu
        metrics["steps"] = float(steps)
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
            value = rollout.value_grid(self._values(rollout.flat), self._values(rollout.final))
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
        self.value_scale = size if first else 0.95 * self.value_scale + 0.05 * size
        return self.value_scale

    @torch.no_grad()
    def _values(self, columns: Columns) -> FloatArray:
        """The critic's value [n] of every row, in units of reward."""
        count = len(columns["prompt_ids"]) if columns else 0
        out = np.zeros(count, dtype=np.float32)
        for start in range(0, count, CHUNK):
            rows = np.arange(start, min(start + CHUNK, count))
            inputs = {k: v for k, v in columns.items() if k in INPUT_KEYS}
            with self._autocast():
                value = objective.state_value(self.post, self._tensors(inputs, rows))
            out[rows] = value.float().cpu().numpy()
        return out * self.value_scale

    def _old_log_prob(self, columns: Columns, rows: np.ndarray) -> FloatArray:
        """[N, L] under the weights before the update, in ``rows``."""
        out = np.zeros(columns["log_prob"].shape, dtype=np.float32)
        for start in range(0, len(rows), CHUNK):
            part = np.sort(rows[start : start + CHUNK])
            with self._autocast():
                batch = self._tensors(columns, part)
                known = objective.trace_log_prob(self.post, batch, self.settings)
            out[part] = known.cpu().numpy()
        return out

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

    def _step(self, batch: dict[str, torch.Tensor], rows: int) -> dict[str, float]:
        optimizer = self.get_optimizer(DEFAULT_MODULE_ID)
        optimizer.zero_grad(set_to_none=True)
        metrics: dict[str, float] = {}
        if rows:  # another learner may have some where this one has none
            with self._autocast():
                loss, metrics = self.algorithm.loss(self.post, batch, self.settings)
            loss.backward()
            metrics["loss"] = float(loss.detach())
        if not average_gradients(self.post.trainable().values(), rows):
            return {"skipped": 1.0}
        # Apart from each other: a critic that is still far off must not shrink the policy's steps.
        norms = {
            part: torch.nn.utils.clip_grad_norm_(parameters, self.settings.max_grad_norm)
            for part, parameters in self._parts(self.post).items()
        }
        # One bad minibatch must not poison the optimizer's state; it is counted, not hidden.
        finite = all(bool(torch.isfinite(norm)) for norm in norms.values())
        if finite:
            optimizer.step()
        else:
            metrics["loss"] = 0.0
        grad_norm = float(norms["policy"]) if finite else 0.0
        return metrics | {"grad_norm": grad_norm, "skipped": float(not finite)}

    # Checkpoints ------------------------------------------------------------------------------
    def training_state(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], int]:
        """(learned tensors, optimizer tensors named ``<slot>.<parameter>``, updates made), copies
        on the CPU.
        """
        optimizer = self.get_optimizer(DEFAULT_MODULE_ID)
        moments = {
            f"{slot}.{name}": tensor.detach().cpu().clone()
            for name, parameter in self.post.trainable().items()
            for slot, tensor in optimizer.state.get(parameter, {}).items()
        }
        moments["scale.value"] = torch.tensor(self.value_scale, dtype=torch.float64)
        learned = {n: t.cpu().clone() for n, t in self.post.learned_tensors().items()}
        return learned, moments, self.updates

    def load_training_state(
        self, learned: dict[str, torch.Tensor], moments: dict[str, torch.Tensor], updates: int
    ) -> None:
        """Inverse of ``training_state``."""
        self.post.load_learned(learned)
        optimizer = self.get_optimizer(DEFAULT_MODULE_ID)
        optimizer.state.clear()
        trainable = self.post.trainable()
        for key, tensor in moments.items():
            slot, name = key.split(".", 1)
            if slot == "scale":
                self.value_scale = float(tensor)
                continue
            where = "cpu" if slot == "step" else self._device
            optimizer.state[trainable[name]][slot] = tensor.to(where).clone()
        self.updates = self._weights_seq_no = updates

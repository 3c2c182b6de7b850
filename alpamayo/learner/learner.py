"""RLlib TorchLearner that post-trains on rollout columns: values, advantages, minibatches, clipped
update.

RLlib builds, places and groups the learners; its batches, connectors and forward passes are not
used, so images stay uint8 until they reach a minibatch and nothing is copied on the way. With
several learners each one holds whole groups and the gradients are averaged.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.learner.training_data import TrainingData

from alpamayo.config import LearnerConfig, RunConfig
from alpamayo.learner import objective
from alpamayo.learner.advantages import compute_advantages
from alpamayo.learner.module import PostTrainModule
from alpamayo.rollout.backend import INPUT_KEYS
from alpamayo.rollout.columns import RolloutBatch
from alpamayo.types import FloatArray

Columns = dict[str, np.ndarray]
CHUNK = 256  # rows of a forward without gradients


class PostTrainLearner(TorchLearner):
    """One update = ``epochs`` passes over the valid decisions of one iteration's rollouts."""

    def build(self) -> None:
        run: RunConfig = self.config.env_config["run"]
        self.settings: LearnerConfig = run.learner
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
        share = min(self.updates / max(self.settings.iterations - 1, 1), 1.0)
        factor = 1.0 + share * (self.settings.lr_end - 1.0)
        parts = self._parts(self.post)
        groups = self.get_optimizer(DEFAULT_MODULE_ID).param_groups
        for part, group in zip(parts, groups, strict=True):
            group["lr"] = factor * self._rate(part)
        return factor * self.settings.lr

    def _make_modules_ddp_if_necessary(self) -> None:
        # The objective calls parts of the module directly; gradients are averaged in
        # _average_gradients instead.
        pass

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: Any
    ) -> torch.Tensor:
        return objective.policy_loss(self.module[module_id], batch, self.settings)[0]

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
        columns, metrics = self.prepare(rollout)
        prepared = time.perf_counter()
        sums: dict[str, float] = {}
        steps = 0
        metrics["learning_rate"] = self._schedule_rates()
        for rows in self._minibatches(np.abs(columns["advantage"]), minibatches):
            for name, value in self._step(self._tensors(columns, rows)).items():
                sums[name] = sums.get(name, 0.0) + value
            steps += 1
        self.updates += 1
        self._weights_seq_no = self.updates
        metrics |= {name: total / max(steps, 1) for name, total in sums.items()}
        metrics["time/prepare_s"] = prepared - started
        metrics["time/update_s"] = time.perf_counter() - prepared
        metrics["steps"] = float(steps)
        return metrics

    # One update ------------------------------------------------------------------------------
    def prepare(self, rollout: RolloutBatch) -> tuple[Columns, dict[str, float]]:
        """Flat columns with ``advantage`` and ``return_`` [N] added, and what is worth knowing
        about them.
        """
        settings, value = self.settings, None
        if self.post.critic is not None:
            value = rollout.value_grid(self._values(rollout.flat), self._values(rollout.final))
        advantage, target = compute_advantages(
            rollout.reward,
            rollout.valid,
            rollout.terminated,
            rollout.group,
            gamma=settings.gamma,
            gae_lambda=settings.gae_lambda,
            value=value,
            mode=settings.advantage,
        )
        flat, returns = rollout.rows(advantage), rollout.rows(target)
        metrics = {"advantage_std": float(flat.std()), "return_mean": float(returns.mean())}
        if value is not None:
            error = returns - rollout.rows(value[:-1])
            metrics["explained_variance"] = float(1 - error.var() / max(returns.var(), 1e-8))
        columns = {
            **rollout.flat,
            "advantage": ((flat - flat.mean()) / (flat.std() + 1e-6)).astype(np.float32),
            "return_": (returns / self._rescale(returns)).astype(np.float32),
        }
        return columns, metrics

    def _rescale(self, returns: FloatArray) -> float:
        """The critic learns returns of about unit size; its scale follows theirs slowly."""
        size = max(float(np.sqrt(np.square(returns).mean())), 1e-3)
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

    def _minibatches(self, size: FloatArray, minibatches: int | None) -> Iterator[np.ndarray]:
        """Row indices of the kept decisions: those of largest ``size`` [N], |advantage|.

        The order depends on run seed and update only, so that a resumed run repeats it.
        """
        kept = max(1, round(len(size) * self.settings.keep_fraction))
        rows = np.argsort(-size, kind="stable")[:kept]
        parts = minibatches or max(1, round(kept / self.settings.minibatch))
        for epoch in range(self.settings.epochs):
            key = [self.seed, self.updates, epoch, self._learner_index]
            order = np.random.default_rng(key).permutation(kept)
            # Sorted rows read the columns front to back.
            yield from (np.sort(rows[part]) for part in np.array_split(order, parts))

    def _tensors(self, columns: Columns, rows: np.ndarray) -> dict[str, torch.Tensor]:
        return {k: torch.from_numpy(v[rows]).to(self._device) for k, v in columns.items()}

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.settings.dtype == "float32":
            return contextlib.nullcontext()
        return torch.autocast(torch.device(self._device).type, dtype=torch.bfloat16)

    def _step(self, batch: dict[str, torch.Tensor]) -> dict[str, float]:
        optimizer = self.get_optimizer(DEFAULT_MODULE_ID)
        optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            loss, metrics = objective.policy_loss(self.post, batch, self.settings)
        loss.backward()
        self._average_gradients()
        # Apart from each other: a critic that is still far off must not shrink the policy's steps.
        norms = {
            part: torch.nn.utils.clip_grad_norm_(parameters, self.settings.max_grad_norm)
            for part, parameters in self._parts(self.post).items()
        }
        # One bad minibatch must not poison the optimizer's state; it is counted, not hidden.
        finite = all(bool(torch.isfinite(norm)) for norm in norms.values())
        if finite:
            optimizer.step()
        grad_norm = float(norms["policy"]) if finite else 0.0
        loss_value = float(loss.detach()) if finite else 0.0
        return metrics | {"loss": loss_value, "grad_norm": grad_norm, "skipped": float(not finite)}

    def _average_gradients(self) -> None:
        if not self.distributed:
            return
        world = torch.distributed.get_world_size()
        for parameter in self.post.trainable().values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= world

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

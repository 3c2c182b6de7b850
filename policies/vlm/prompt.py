"""Observation -> prompt: chat header, image blocks, ego state on reserved ids, assistant header.

Every row of a batch has the same length and the same places for image tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alpamayo.types import FloatArray, IntArray, ObservationBatch
from policies.vlm.action_tokens import ActionTokenizer
from policies.vlm.config import (
    IMAGE_BREAK_ID,
    IMAGE_END_ID,
    IMAGE_PAD_ID,
    IMAGE_START_ID,
    VLMConfig,
)
from policies.vlm.image_input import check_images
from policies.vlm.vision import fit_frames, image_grid

HISTORY_HZ = 10.0
INTERVAL_SAMPLES = 4  # history samples per interval
INTERVAL_S = INTERVAL_SAMPLES / HISTORY_HZ
_MIN_ARC_M = 0.5  # below this path length, heading change says nothing about curvature


@dataclass(frozen=True)
class Prompt:
    """``ids`` int64 [B, N]; ``frames`` uint8 [B, F, H_px, W_px, 3], sides in whole cells (F may be
    0)."""

    ids: Tensor
    frames: Tensor

    def take(self, rows: Tensor | slice) -> Prompt:
        return Prompt(self.ids[rows], self.frames[rows])


def image_block(rows: int, columns: int) -> list[int]:
    """Ids of one image: start, then rows of pads closed by a break; the last break is the end."""
    ids = [IMAGE_START_ID] + ([IMAGE_PAD_ID] * columns + [IMAGE_BREAK_ID]) * rows
    ids[-1] = IMAGE_END_ID
    return ids


def past_motion(history: FloatArray, speed_mps: FloatArray, intervals: int) -> FloatArray:
    """(acceleration m/s2, curvature 1/m) float [B, intervals, 2] of the last intervals of 0.4 s,
    newest first.

    From poses [B, 16, 3]. Acceleration is the change of mean speed between the interval and the one
    after it (for the newest: up to the speed now, half an interval later).
    """
    ends = history.shape[1] - 1 - INTERVAL_SAMPLES * np.arange(intervals + 1)
    if ends[-1] < 0:
        raise ValueError(f"{intervals} intervals need {1 - ends[-1]} more samples of history")
    poses = history[:, ends].astype(np.float64)
    move = poses[:, :-1] - poses[:, 1:]
    heading = poses[:, 1:, 2]
    along = move[..., 0] * np.cos(heading) + move[..., 1] * np.sin(heading)
    arc = np.hypot(move[..., 0], move[..., 1]) * np.where(along < 0, -1.0, 1.0)
    mean_speed = arc / INTERVAL_S
    later = np.concatenate([speed_mps[:, None].astype(np.float64), mean_speed[:, :-1]], axis=1)
    gap_s = np.full(intervals, INTERVAL_S)
    gap_s[:1] = INTERVAL_S / 2
    turn = (move[..., 2] + np.pi) % (2 * np.pi) - np.pi
    curvature = np.where(np.abs(arc) < _MIN_ARC_M, 0.0, turn / np.where(arc == 0, 1.0, arc))
    return np.stack([(later - mean_speed) / gap_s, curvature], axis=-1)


def fitted_frames(observation: ObservationBatch, config: VLMConfig) -> Tensor:
    """The camera frames as ``Prompt.frames``; raises what ``check_images`` does."""
    frames = observation.frames
    check_images(frames, config, config.prompt.max_image_tokens)
    if frames.shape[1]:
        frames = fit_frames(frames, config.cell_px)
    return torch.from_numpy(np.ascontiguousarray(frames))


class PromptEncoder:
    """ObservationBatch -> Prompt, by the layout in ``VLMConfig.prompt``."""

    def __init__(self, config: VLMConfig) -> None:
        self.config = config
        self.actions = ActionTokenizer(config.action)

    def __call__(self, observation: ObservationBatch) -> Prompt:
        frames = fitted_frames(observation, self.config)
        return Prompt(torch.from_numpy(self.ids(observation)), frames)

    def ids(self, observation: ObservationBatch) -> IntArray:
        """int64 [B, N]."""
        prompt, count = self.config.prompt, len(observation)
        head = [prompt.im_start_id, *prompt.user_ids]
        images = observation.frames.shape[1]
        if images:
            height_px, width_px = observation.frames.shape[2:4]
            grid = image_grid(height_px, width_px, self.config.cell_px)
            head += image_block(*grid) * images
        tail = [prompt.im_end_id, prompt.im_start_id, *prompt.assistant_ids]
        return np.concatenate(
            [_repeat(head, count), self._state_ids(observation), _repeat(tail, count)], axis=1
        )

    def _state_ids(self, observation: ObservationBatch) -> IntArray:
        """Speed, limit and command, then the past motion, newest first."""
        prompt = self.config.prompt
        columns = [
            prompt.speed_first_id
            + _bins(observation.speed_mps, prompt.speed_bin_mps, prompt.speed_bins),
            prompt.limit_first_id + _bins(observation.speed_limit_mps, 1.0, prompt.limit_bins),
            prompt.command_first_id + observation.command.astype(np.int64),
        ]
        state = np.stack(columns, axis=1)
        if not prompt.history_intervals:
            return state
        motion = past_motion(observation.history, observation.speed_mps, prompt.history_intervals)
        return np.concatenate([state, self.actions.encode(motion)], axis=1)


def _bins(values: FloatArray, width: float, count: int) -> npt.NDArray[np.int64]:
    return np.clip(np.rint(values / width), 0, count - 1).astype(np.int64)


def _repeat(ids: list[int], count: int) -> npt.NDArray[np.int64]:
    return np.tile(np.asarray(ids, dtype=np.int64), (count, 1))

"""Observation -> chat prompt in words, for networks that were trained on text.

``system`` says once what the answer is, ``user`` shows each camera under its name and then tells
past motion, speed and where to go. What never changes comes first, and what changes has the same
length at every tick: the keys of the beginning can be kept, and every prompt of a batch is as long.
"""

from __future__ import annotations

import numpy as np
import torch

from alpamayo.types import COMMANDS, FloatArray, IntArray, ObservationBatch, RequestError
from policies.vlm.config import IM_END_ID, IM_START_ID, VLMConfig
from policies.vlm.prompt import INTERVAL_S, Prompt, fitted_frames, image_block, past_motion
from policies.vlm.tokenizer import TextTokenizer
from policies.vlm.vision import image_grid

NAVIGATION = {
    "follow": "Keep to the road.",
    "left": "Turn left at the next junction.",
    "straight": "Go straight on at the next junction.",
    "right": "Turn right at the next junction.",
}
SPARE_TOKENS = 8  # room for numbers that take more tokens than those it was measured with


class ChatPromptEncoder:
    """ObservationBatch -> Prompt in ChatML, without a token for the beginning of text."""

    def __init__(self, config: VLMConfig, tokenizer: TextTokenizer) -> None:
        self.config, self.tokenizer = config, tokenizer
        action, encode = config.action, tokenizer.encode
        instruction = (
            "You drive a car. You see its cameras, its past motion, its speed and where to go. You "
            f"answer with {action.steps} pairs of acceleration and curvature, one for each "
            f"{action.step_s:g} s."
        )
        line = encode("\n")
        self.static = [
            IM_START_ID, *encode("system\n" + instruction), IM_END_ID, *line,
            IM_START_ID, *encode("user\n"),
        ]  # fmt: skip
        # An empty thought: the plan comes at once.
        self._tail = [
            IM_END_ID, *line, IM_START_ID, *encode("assistant\n"),
            *tokenizer.encode_marked("<think></think>"),
        ]  # fmt: skip
        self.end_of_thought = tokenizer.encode_marked("</think>")
        self._fill, self.fill_id = line, line[0]
        widest = [
            self._state_text(name, 8.88, 8.8, np.full((config.prompt.history_intervals, 2), -0.888))
            for name in COMMANDS
        ]
        self._state_width = max(len(encode(text)) for text in widest) + SPARE_TOKENS

    def __call__(self, observation: ObservationBatch) -> Prompt:
        frames = fitted_frames(observation, self.config)
        return Prompt(torch.from_numpy(self.ids(observation)), frames)

    def thinking(self, observation: ObservationBatch) -> Prompt:
        """The prompt up to where a thought begins; ``end_of_thought`` closes it."""
        prompt = self(observation)
        count = prompt.ids.shape[1] - len(self.end_of_thought)
        return Prompt(prompt.ids[:, :count], prompt.frames)

    def ids(self, observation: ObservationBatch) -> IntArray:
        """int64 [B, N]."""
        head = [*self.static, *self._camera_ids(observation.frames.shape)]
        count = self.config.prompt.history_intervals
        motion = past_motion(observation.history, observation.speed_mps, count)
        rows = []
        for row in range(len(observation)):
            text = self._state_text(
                COMMANDS[int(observation.command[row])],
                float(observation.speed_mps[row]),
                float(observation.speed_limit_mps[row]),
                motion[row],
            )
            rows.append([*head, *self._padded(text), *self._tail])
        return np.asarray(rows, dtype=np.int64)

    def _camera_ids(self, shape: tuple[int, ...]) -> list[int]:
        """Each camera's name and its images, the cameras in the order of the rig."""
        count, height_px, width_px = shape[1:4]
        cameras = self.config.prompt.cameras
        if not count:
            return []
        if count % len(cameras):
            raise RequestError(
                f"prompt.cameras: {len(cameras)} names ({', '.join(cameras)}) for {count} images: "
                "expected as many images of each camera"
            )
        each = count // len(cameras)
        block = image_block(*image_grid(height_px, width_px, self.config.cell_px))
        order = "" if each == 1 else ", oldest first"
        ids: list[int] = []
        for name in cameras:
            ids += [*self.tokenizer.encode(f"{name} camera{order}:\n"), *block * each]
            ids += self._fill
        return ids

    @staticmethod
    def _state_text(command: str, speed_mps: float, limit_mps: float, motion: FloatArray) -> str:
        """The car's state in numbers of fixed width; ``motion`` [intervals, 2]."""
        past = "".join(f"{a:+06.2f} m/s2, {k:+07.4f} 1/m\n" for a, k in motion)
        told = f"Past motion, newest first, {INTERVAL_S:g} s each:\n{past}" if past else ""
        return (
            f"{told}Speed {speed_mps:05.2f} m/s, limit {limit_mps:05.2f} m/s.\n"
            f"{NAVIGATION[command]}"
        )

    def _padded(self, text: str) -> list[int]:
        ids = self.tokenizer.encode(text)
        missing = self._state_width - len(ids)
        if missing < 0:
            raise RequestError(
                f"{self.tokenizer.place}: the car's state takes {len(ids)} tokens: expected at "
                f"most {self._state_width}"
            )
        return [*ids, *(self._fill * missing)[:missing]]

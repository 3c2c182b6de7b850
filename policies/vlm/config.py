"""Settings of the policy network at every size, and their JSON form.

The JSON keys at the root are those of the published Nemotron-Labs-Diffusion configs (text
parameters at the root, ``vision_config`` below); what driving adds lives under ``alpamayo``.
Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

# Token ids shared by every size. Ids 22..999, except the mask, are untrained rows of the published
# vocabulary: the action and ego-state tokens live there, so that nothing needs to be resized.
IM_START_ID, IM_END_ID, MASK_ID = 10, 11, 100
IMAGE_START_ID, IMAGE_PAD_ID, IMAGE_BREAK_ID, IMAGE_END_ID = 18, 19, 20, 21
RESERVED_FIRST_ID, RESERVED_LAST_ID = 22, 999
KINDS = 2  # the tokens of a plan alternate: acceleration, curvature


@dataclass(frozen=True)
class RopeConfig:
    """Rotary positions: YaRN frequencies and the llama-4 scale of queries far beyond the original
    context."""

    rope_theta: float = 1e6
    factor: float = 16.0
    original_max_position_embeddings: int = 16384
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float = 1.0
    mscale_all_dim: float = 1.0
    llama_4_scaling_beta: float = 0.1


@dataclass(frozen=True)
class VisionConfig:
    """The image tower: a ViT with 2-D rotary positions; each image attends to itself only."""

    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    patch_size: int = 14
    image_size: int = 1540
    rope_theta: float = 10000.0

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads


@dataclass(frozen=True)
class ActionConfig:
    """Bins of the action tokens and the reserved ids they occupy.

    Acceleration bins are uniform; curvature bins are ``sign(u) * max * u^2`` of a uniform u in [-1,
    1], finer near straight ahead.
    """

    steps: int = 8
    step_s: float = 0.4
    accel_min_mps2: float = -8.0
    accel_max_mps2: float = 4.0
    accel_bins: int = 49
    accel_first_id: int = 310
    curvature_max_per_m: float = 0.2
    curvature_bins: int = 65
    curvature_first_id: int = 360

    @property
    def tokens(self) -> int:
        return KINDS * self.steps


@dataclass(frozen=True)
class PromptConfig:
    """Layout of the driving prompt; every id in one table.

    ``user_ids`` and ``assistant_ids`` are the text of the two chat headers. ``history_intervals``
    past motions are told as action tokens (mean speed change, curvature), one pair per 0.4 s; 0
    hides the past.

    ``layout``: ``ids`` is all of the above; ``chat`` says it in words, by the checkpoint's
    tokenizer, and names the ``cameras`` of the rig. ``max_image_tokens`` of a prompt, at most.
    """

    im_start_id: int = IM_START_ID
    im_end_id: int = IM_END_ID
    user_ids: tuple[int, ...] = (22,)
    assistant_ids: tuple[int, ...] = (23,)
    command_first_id: int = 24
    limit_first_id: int = 110
    limit_bins: int = 41
    speed_first_id: int = 160
    speed_bins: int = 141
    speed_bin_mps: float = 0.25
    history_intervals: int = 3
    layout: str = "ids"
    cameras: tuple[str, ...] = ("front",)
    max_image_tokens: int = 4096


@dataclass(frozen=True)
class VLMConfig:
    """One network size. Frozen; ``preset(name)`` lists the known ones."""

    vocab_size: int = 131072
    hidden_size: int = 4096
    intermediate_size: int = 14336
    num_hidden_layers: int = 34
    num_attention_heads: int = 32
    num_key_value_heads: int = 8
    head_dim: int = 128
    rms_norm_eps: float = 1e-5
    max_position_embeddings: int = 262144
    initializer_range: float = 0.02
    block_size: int = 32
    rope: RopeConfig = field(default_factory=RopeConfig)
    vision: VisionConfig | None = None
    spatial_merge_size: int = 2
    action: ActionConfig = field(default_factory=ActionConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def cell_px(self) -> int:
        """Side of the square of pixels that becomes one image token."""
        return (self.vision.patch_size if self.vision else 14) * self.spatial_merge_size

    @staticmethod
    def preset(name: str) -> VLMConfig:
        if name not in PRESETS:
            raise ValueError(f"preset {name!r}: expected one of {', '.join(PRESETS)}")
        return PRESETS[name]

    def with_plan(self, steps: int, step_s: float) -> VLMConfig:
        """The same network with another plan length."""
        return replace(self, action=replace(self.action, steps=steps, step_s=step_s))


def _problems(config: VLMConfig) -> Iterator[str]:
    """Everything wrong with ``config``, as short sentences."""
    small = [key for key in (*_SIZES, "spatial_merge_size") if getattr(config, key) < 1]
    if config.vision is not None:
        small += [
            f"vision_config.{key}" for key in _VISION_SIZES if getattr(config.vision, key) < 1
        ]
    if small:
        yield f"{', '.join(small)} must be at least 1"
        return
    large = list(_too_large(config))
    if large:
        yield "; ".join(large)
        return
    if config.num_attention_heads % config.num_key_value_heads:
        yield "num_attention_heads must be a multiple of num_key_value_heads"
    if config.head_dim % 2:
        yield "head_dim must be even"
    if config.vision is not None and (
        config.vision.hidden_size % config.vision.num_attention_heads or config.vision.head_dim % 4
    ):
        yield "vision_config.hidden_size must be heads times a multiple of 4"
    yield from _id_problems(config)


def _too_large(config: VLMConfig) -> Iterator[str]:
    """Numbers no network of this kind has: a file that says so asks for endless time or memory."""
    parts = (("", config), ("vision_config.", config.vision), ("alpamayo.action.", config.action),
             ("alpamayo.prompt.", config.prompt))  # fmt: skip
    rope, vision = config.rope, config.vision
    rates = {
        "rope_parameters.rope_theta": (rope.rope_theta, 1.0),
        "rope_parameters.factor": (rope.factor, 0.0),
        "rope_parameters.beta_fast": (rope.beta_fast, 0.0),
        "rope_parameters.beta_slow": (rope.beta_slow, 0.0),
        "rope_parameters.original_max_position_embeddings": (
            rope.original_max_position_embeddings,
            0.0,
        ),
        "vision_config.rope_parameters.rope_theta": (vision.rope_theta if vision else 2.0, 1.0),
    }
    for key, (rate, above) in rates.items():
        if not rate > above:
            yield f"{key} must be above {above:g}, not {rate:g}"
    if min(rope.mscale, rope.mscale_all_dim) < 0:
        yield "rope_parameters.mscale and mscale_all_dim must not be negative"
    for place, part in parts:
        for key, most in _MOST.items():
            value = getattr(part, key, 0)
            if not 0 <= value <= most:
                yield f"{place}{key} must be from 0 to {most}, not {value}"


def _id_problems(config: VLMConfig) -> Iterator[str]:
    """What is wrong with the rows that the driving tokens occupy."""
    action, prompt = config.action, config.prompt
    spans = {
        "action.accel": (action.accel_first_id, action.accel_bins),
        "action.curvature": (action.curvature_first_id, action.curvature_bins),
    }
    told_by_ids = {
        "prompt.command": (prompt.command_first_id, 4),
        "prompt.limit": (prompt.limit_first_id, prompt.limit_bins),
        "prompt.speed": (prompt.speed_first_id, prompt.speed_bins),
    }
    if prompt.layout == "ids":
        spans |= told_by_ids
    used: dict[int, str] = {MASK_ID: "the mask token"}
    for name, (first, count) in spans.items():
        if first < RESERVED_FIRST_ID or first + count - 1 > RESERVED_LAST_ID:
            yield f"{name} ids must lie in {RESERVED_FIRST_ID}..{RESERVED_LAST_ID}"
        for token in range(first, first + count):
            if token in used:
                yield f"{name} ids overlap {used[token]} at id {token}"
                break
            used[token] = name
    texts = (prompt.im_start_id, prompt.im_end_id, *prompt.user_ids, *prompt.assistant_ids)
    if not all(0 <= token < config.vocab_size for token in texts):
        yield f"prompt ids must lie in 0..{config.vocab_size - 1}"
    if config.vocab_size <= RESERVED_LAST_ID:
        yield f"vocab_size must be above {RESERVED_LAST_ID}"
    if prompt.layout not in ("ids", "chat"):
        yield f"prompt.layout: expected ids or chat, got {prompt.layout!r}"
    if not prompt.cameras:
        yield "prompt.cameras: expected at least one name"
    if action.steps < 1 or action.accel_bins < 2 or action.curvature_bins < 2:
        yield "action needs at least 1 step and 2 bins of each kind"


_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
)
_MOST = {
    "vocab_size": 2**22,
    "hidden_size": 2**16,
    "intermediate_size": 2**18,
    "num_hidden_layers": 1024,
    "num_attention_heads": 2**12,
    "head_dim": 2**12,
    "patch_size": 2**10,
    "image_size": 2**16,
    "block_size": 2**16,
    "max_position_embeddings": 2**26,
    "spatial_merge_size": 2**6,
    "steps": 2**10,
    "step_s": 60.0,
    "accel_bins": RESERVED_LAST_ID,
    "curvature_bins": RESERVED_LAST_ID,
    "limit_bins": RESERVED_LAST_ID,
    "speed_bins": RESERVED_LAST_ID,
    "history_intervals": 2**10,
    "max_image_tokens": 2**20,
}
_VISION_SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "patch_size",
)
# Heads of 32, as in the text tower: 24 would be slower on a CPU at the same cost.
TINY_VISION = VisionConfig(
    hidden_size=96, intermediate_size=256, num_hidden_layers=2, num_attention_heads=3
)
_TINY = VLMConfig(
    vocab_size=1024,
    hidden_size=128,
    intermediate_size=256,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
    initializer_range=0.05,
    vision=TINY_VISION,
    # Told its own past, a small imitator repeats it instead of looking at the road.
    prompt=PromptConfig(history_intervals=0),
)
_SMALL = replace(
    _TINY,
    hidden_size=384,
    intermediate_size=1536,
    num_hidden_layers=10,
    num_attention_heads=6,
    num_key_value_heads=2,
    head_dim=64,
    initializer_range=0.04,
    vision=VisionConfig(
        hidden_size=256, intermediate_size=768, num_hidden_layers=6, num_attention_heads=4
    ),
)
_NLD_8B = VLMConfig()
PRESETS: dict[str, VLMConfig] = {
    "tiny": _TINY,
    "small": _SMALL,
    "nld-3b": replace(_NLD_8B, num_hidden_layers=26, hidden_size=3072, intermediate_size=9216),
    "nld-8b": _NLD_8B,
    "nld-14b": replace(
        _NLD_8B,
        num_hidden_layers=40,
        hidden_size=5120,
        intermediate_size=16384,
        rope=RopeConfig(rope_theta=1e9),
    ),
    "nld-vlm-8b": replace(_NLD_8B, vocab_size=131073, vision=VisionConfig()),
}

_TEXT_KEYS = (
    *_SIZES,
    "rms_norm_eps",
    "max_position_embeddings",
    "initializer_range",
    "block_size",
)


def to_json(config: VLMConfig) -> dict[str, Any]:
    """The published keys, plus our ``alpamayo`` section."""
    vlm = config.vision is not None
    model_type = "nemotron_labs_diffusion" + ("_vlm" if vlm else "")
    document: dict[str, Any] = {
        "architectures": ["NemotronLabsDiffusionVLMModel" if vlm else "NemotronLabsDiffusionModel"],
        "model_type": model_type,
        **{key: getattr(config, key) for key in _TEXT_KEYS},
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "sliding_window": None,
        "mask_token_id": MASK_ID,
        "eos_token_id": IM_END_ID,
        "bos_token_id": 1,
        "rope_parameters": {"rope_type": "yarn", **asdict(config.rope)},
    }
    if config.vision is not None:
        vision = asdict(config.vision)
        theta = vision.pop("rope_theta")
        document["vision_config"] = {
            "model_type": "pixtral",
            "head_dim": config.vision.head_dim,
            "num_channels": 3,
            "hidden_act": "silu",
            **vision,
            "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        }
        document["spatial_merge_size"] = config.spatial_merge_size
        document["projector_hidden_act"] = "gelu"
        document["multimodal_projector_bias"] = False
        document["vision_feature_layer"] = -1
    document["alpamayo"] = {"action": asdict(config.action), "prompt": asdict(config.prompt)}
    return document


def from_json(document: Mapping[str, Any]) -> VLMConfig:
    """Inverse of ``to_json``; also reads published files (they have no ``alpamayo`` section).

    Raises ``ValueError`` or ``KeyError`` naming what is wrong; the checkpoint loader adds the file.
    """
    for key, expected in (
        ("mask_token_id", MASK_ID),
        ("hidden_act", "silu"),
        ("tie_word_embeddings", False),
        ("sliding_window", None),
        ("vision_feature_layer", -1),
    ):
        if document.get(key, expected) != expected:
            raise ValueError(f"{key}: expected {expected!r}, got {document[key]!r}")
    text = {key: _typed(VLMConfig, key, document[key]) for key in _TEXT_KEYS if key in document}
    for key in _SIZES:
        if key not in text:
            raise ValueError(f"{key}: missing")
    # A published file says nothing of driving: its network knows words.
    section = document.get("alpamayo", {"prompt": {"layout": "chat"}})
    vision = document.get("vision_config")
    if vision is not None:
        if not isinstance(vision, Mapping):
            raise ValueError(f"vision_config: expected a mapping, got {vision!r:.80}")
        theta = vision.get("rope_parameters", {}).get("rope_theta", 10000.0)
        vision = _build(
            VisionConfig, "vision_config", {**vision, "rope_theta": theta}, strict=False
        )
    return VLMConfig(
        **text,
        rope=_build(RopeConfig, "rope_parameters", document["rope_parameters"], strict=False),
        vision=vision,
        spatial_merge_size=int(document.get("spatial_merge_size", 2)),
        action=_build(ActionConfig, "alpamayo.action", section.get("action", {}), strict=True),
        prompt=_build(PromptConfig, "alpamayo.prompt", section.get("prompt", {}), strict=True),
    )


def _build(kind: type, place: str, values: Mapping[str, Any], *, strict: bool) -> Any:
    """``kind(**values)`` with types checked; unknown keys are an error only if ``strict``."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{place}: expected a mapping, got {values!r:.80}")
    known = {f.name for f in fields(kind)}
    unknown = sorted(set(values) - known)
    if strict and unknown:
        raise ValueError(f"{place}: unknown keys {', '.join(unknown)}")
    return kind(**{k: _typed(kind, k, v, place) for k, v in values.items() if k in known})


def _typed(kind: type, key: str, value: Any, place: str = "") -> Any:
    """``value`` as the type that field ``key`` of ``kind`` declares."""
    declared = str({f.name: f.type for f in fields(kind)}[key])
    where = f"{place}.{key}" if place else key
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    if numeric and not abs(value) < 1e18:  # nan and infinities as well
        raise ValueError(f"{where}: expected a number of this world, got {value!r:.40}")
    if declared == "int" and numeric and value == int(value):
        return int(value)
    if declared == "float" and numeric:
        return float(value)
    if declared == "str" and isinstance(value, str):
        return value
    if declared == "tuple[str, ...]" and isinstance(value, (list, tuple)):
        return tuple(str(v) for v in value)
    if declared.startswith("tuple") and isinstance(value, (list, tuple)):
        return tuple(int(v) for v in value)
    raise ValueError(f"{where}: expected {declared}, got {value!r:.80}")

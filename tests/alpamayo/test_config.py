"""Settings: layers, types, ranges, and messages that name the place of a mistake."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo.config import (
    CONFIG_KINDS,
    SIM_BOUNDS,
    DemoConfig,
    RunConfig,
    decode_options,
    load_config,
    to_yaml,
)
from alpamayo.paths import configs_dir
from alpamayo.types import RequestError
from sim import config as sim_config

SHIPPED = {
    "demo.yaml": "demo",
    "train/cpu.yaml": "train",
    "train/longtail.yaml": "train",
    "train/warmstart.yaml": "warmstart",
    "eval/heldout.yaml": "eval",
}


def message(kind: str, text: str | None, words: list[str], folder: Path) -> str:
    file = None
    if text is not None:
        (folder / "c.yaml").write_text(text)
        file = str(folder / "c.yaml")
    with pytest.raises(RequestError) as caught:
        load_config(kind, file, words)
    return str(caught.value).replace(f"{folder}/", "")


def test_the_command_line_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("learner:\n  lr: 2e-4\n  epochs: 3\n")
    config = load_config("train", str(file), ["learner.epochs=4"])
    assert (config.learner.lr, config.learner.epochs) == (2e-4, 4)
    assert config.learner.clip == RunConfig().learner.clip


def test_without_file_and_words_the_defaults_come_back() -> None:
    for kind, cls in CONFIG_KINDS.items():
        assert load_config(kind) == cls()


def test_a_resolved_config_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_config("train").learner.lr = 1.0


def test_a_demo_config_is_a_run_config_so_that_the_loop_takes_it() -> None:
    config = load_config("demo")
    assert isinstance(config, RunConfig) and isinstance(config, DemoConfig)


@pytest.mark.parametrize(("file", "kind"), SHIPPED.items())
def test_shipped_configs_load(file: str, kind: str) -> None:
    load_config(kind, str(configs_dir() / file))


def test_every_shipped_run_config_is_in_the_list_above() -> None:
    found = {p.relative_to(configs_dir()).as_posix() for p in configs_dir().rglob("*.yaml")}
    own = {f for f in found if f.split("/")[0] not in ("policy", "cluster")}
    assert own == set(SHIPPED)


def test_yaml_of_a_config_reads_back_to_an_equal_object(tmp_path: Path) -> None:
    for kind in CONFIG_KINDS:
        config = load_config(kind, None, ["sim.rig.frames=1", "seed=7"])
        (tmp_path / "c.yaml").write_text(to_yaml(config))
        assert load_config(kind, str(tmp_path / "c.yaml")) == config


def test_a_rig_may_be_null_and_come_back(tmp_path: Path) -> None:
    assert load_config("eval", None, ["sim.rig=null"]).sim.rig is None
    (tmp_path / "c.yaml").write_text("sim:\n  rig:\n")
    config = load_config("eval", str(tmp_path / "c.yaml"), ["sim.rig.frames=1"])
    assert config.sim.rig == sim_config.RigConfig(frames=1)


def test_interpolations_are_resolved() -> None:
    assert load_config("train", None, ["seed=${learner.epochs}", "learner.epochs=5"]).seed == 5


def test_text_settings_take_the_word_as_it_stands() -> None:
    assert load_config("train", None, ["name=007"]).name == "007"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learner:\n  epohcs: 3\n", "c.yaml:2: learner.epohcs: unknown key; did you mean epochs?"),
        ("learner:\n  lr: fast\n", "c.yaml:2: learner.lr: expected a number, got 'fast'"),
        ("learner:\n  lr: true\n", "c.yaml:2: learner.lr: expected a number, got True"),
        ("learner:\n  epochs: 2.5\n", "c.yaml:2: learner.epochs: expected a whole number, got 2.5"),
        ("learner:\n  lr:\n", "c.yaml:2: learner.lr: expected a number, got nothing"),
        ("learner: 3\n", "c.yaml:1: learner: expected settings (key: value), got 3"),
        ("learner:\n", "c.yaml:1: learner: expected settings (key: value), got nothing"),
        ("\nlearner:\n  lr: -1\n", "c.yaml:3: learner.lr: expected a number > 0 and <= 1, got -1"),
        ("learner:\n  lr: .nan\n", "c.yaml:2: learner.lr: expected a number > 0 and <= 1, got nan"),
        (
            "sim:\n  reward:\n    ttc: -2\n",
            "c.yaml:3: sim.reward.ttc: expected a number >= 0, got -2",
        ),
        (
            "policy:\n  decode: {mode: treshold}\n",
            "c.yaml:2: policy.decode.mode: expected executed_first or sequential or "
            "threshold or ar or self_speculation, got 'treshold' (did you mean threshold?)",
        ),
        (
            "rollout:\n  group_size: 7\n",
            "c.yaml:2: rollout.group_size: rollout.worlds_per_worker: "
            "expected a multiple of rollout.group_size = 7, got 64",
        ),
        ("seed: 1_000_000\n", "c.yaml:1: seed: expected a number >= 0 and < 1e+06, got 1e+06"),
        ("- 1\n", "c.yaml:1: expected settings (key: value), got [1]"),
        ("seed: 1\nname: x\nseed: 2\n", "c.yaml:3: expected valid YAML: found duplicate key"),
        ("seed: [1\n", "c.yaml:2: expected valid YAML"),
        ("seed: ${nope}\n", "c.yaml:1: seed: Interpolation key 'nope' not found"),
    ],
)
def test_mistakes_in_a_file_name_the_line(text: str, expected: str, tmp_path: Path) -> None:
    found = message("train", text, [], tmp_path)
    assert found.startswith(expected)
    assert "\n" not in found


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("learner.lrr=1", "command line: learner.lrr=1: unknown key; did you mean lr?"),
        ("learner.lr=0", "command line: learner.lr=0: expected a number > 0 and <= 1, got 0"),
        ("learner.lr", "command line: learner.lr: expected key=value"),
        ("=1", "command line: =1: expected key=value"),
        ("a..b=1", "command line: a..b=1: expected key=value"),
        ("learner.lr=[1", "command line: learner.lr=[1: expected a value in YAML notation"),
        (
            "sim.rig.frames=0",
            "command line: sim.rig.frames=0: expected a number >= 1 and <= 16, got 0",
        ),
        (
            "policy.decode.rounds=17",
            "command line: policy.decode.rounds=17: expected at most the 16 tokens",
        ),
        (
            "sim.latency_s=1",
            "command line: sim.latency_s=1: expected at most sim.decision_s = 0.4, got 1",
        ),
    ],
)
def test_mistakes_on_the_command_line_name_the_word(
    word: str, expected: str, tmp_path: Path
) -> None:
    assert message("train", None, [word], tmp_path).startswith(expected)


def test_a_missing_file_suggests_the_shipped_one() -> None:
    with pytest.raises(
        RequestError, match=r"configs/train/cpuu.yaml: no such file; did you mean configs/train/cpu"
    ):
        load_config("train", "configs/train/cpuu.yaml")


def test_a_directory_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="expected a YAML file, found a directory"):
        load_config("train", str(tmp_path))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RequestError, match="expected a readable YAML file"):
        load_config("train", str(tmp_path / "c.yaml"))


def test_every_range_of_the_simulator_belongs_to_a_setting() -> None:
    for cls_name, name in SIM_BOUNDS:
        fields = {f.name for f in dataclasses.fields(getattr(sim_config, cls_name))}
        assert name == "*" or name in fields


def test_cameras_are_a_list_of_settings(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "sim:\n  rig:\n    cameras:\n"
        "      - {name: left, yaw_deg: 60, hfov_deg: 120}\n"
        "      - name: tele\n        hfov_deg: 30\n"
    )
    left, tele = load_config("eval", str(file)).sim.rig.cameras
    assert (left.name, left.yaw_deg, left.hfov_deg) == ("left", 60.0, 120.0)
    assert (tele.name, tele.yaw_deg, tele.mount_height_m) == ("tele", 0.0, 1.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cameras: [{fov: 3}]", r"c.yaml:3: sim.rig.cameras\[0\].fov: .*hfov_deg"),
        ("cameras: [{}, {hfov_deg: wide}]", r"c.yaml:3: sim.rig.cameras\[1\].hfov_deg: expected a"),
        ("cameras: front", r"c.yaml:3: sim.rig.cameras: expected a list"),
        ("cameras: [{hfov_deg: 200}]", r"sim.rig.cameras\[0\].hfov_deg: expected a number"),
    ],
)
def test_a_mistake_in_a_list_says_where(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"sim:\n  rig:\n    {text}\n")
    with pytest.raises(RequestError, match=message):
        load_config("eval", str(file))


def test_decode_options_are_what_the_decoder_takes_with_the_same_defaults() -> None:
    from policies.vlm.schedule import DecodeConfig as DecoderConfig

    run = load_config("train", None, ["policy.decode.rounds=3"])
    assert DecoderConfig(**decode_options(run.policy.decode, run.sim)) == DecoderConfig(rounds=3)
    words = ["policy.decode.frozen=latency", "sim.latency_s=0.4"]
    run = load_config("eval", None, words)
    assert decode_options(run.policy.decode, run.sim)["frozen_s"] == 0.4


@pytest.mark.parametrize("mode", ["sequential", "threshold", "ar", "self_speculation"])
def test_every_way_of_decoding_can_be_asked_for(mode: str) -> None:
    words = [f"policy.decode.mode={mode}", "policy.decode.block_size=8"]
    decode = load_config("eval", None, [*words, "policy.decode.max_rounds=4"]).policy.decode
    assert (decode.mode, decode.block_size, decode.max_rounds) == (mode, 8, 4)


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        ("eval", ["policy.decode.max_rounds=17"], "expected at most the 16 tokens"),
        (
            "eval",
            ["policy.decode.frozen=0.1"],
            "policy.decode.frozen=0.1: expected none or latency",
        ),
        ("train", ["policy.decode.frozen=latency"], "expected none while training"),
        ("train", ["policy.decode.think_every=2"], "expected 0 while training"),
        ("train", ["policy.weights=int8"], "expected full while training"),
        ("train", ["policy.adapter=there"], "expected none while training"),
        ("eval", ["policy.weights=int3"], "expected full or int8"),
    ],
)
def test_decoding_that_cannot_be_done_is_one_line(
    kind: str, words: list[str], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        load_config(kind, None, words)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="abc.=-[]{}:# \n\t\"'0129&*!|>%@`$", max_size=40))
def test_whatever_stands_in_a_file_ends_in_a_config_or_in_one_line(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "c.yaml"
        file.write_text(text)
        try:
            load_config("train", str(file))
        except RequestError as error:
            assert "\n" not in str(error)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="learn.=-[]{}:# 0129e$", max_size=30))
def test_whatever_stands_on_the_command_line_ends_in_a_config_or_in_one_line(word: str) -> None:
    try:
        load_config("train", None, [word])
    except RequestError as error:
        assert str(error).startswith("command line:")

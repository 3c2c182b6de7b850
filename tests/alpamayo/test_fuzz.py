"""A few mutations of shared files; ``python -m tests.alpamayo.fuzz`` tries ten thousand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from alpamayo.config import load_config
from alpamayo.replay.codec import from_plain, to_plain
from alpamayo.types import RequestError, Scenario
from policies.vlm.config import VLMConfig, from_json, to_json
from tests.alpamayo.fuzz import fuzz
from tests.alpamayo.fuzz_cases import mutate_bytes

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_mutated_files_are_taken_or_refused_in_one_line() -> None:
    told = fuzz(120, seed=7, say=print)
    assert told["findings"] == []
    counts = told["outcomes"]
    assert sum(sum(kind.values()) for kind in counts.values()) == 120
    assert sum(counts["replay"].values()) == 60 and counts["replay"]["refused"] > 20
    assert counts["checkpoint"]["refused"] > 5 and counts["settings"]["refused"] > 5


def test_the_same_number_is_the_same_mutation() -> None:
    data = bytes(range(256)) * 4
    first, again, other = (mutate_bytes(data, np.random.default_rng([1, n])) for n in (5, 5, 6))
    assert first == again != data and other != first


@pytest.mark.parametrize(
    "act",
    ["os.system('true')", "subprocess.run(['true'])", "pickle.loads(b'cos\\nsystem\\n.')",
     "open('/tmp/x-fuzz-guard', 'w')", "socket.socket().connect_ex(('127.0.0.1', 9))"],
)  # fmt: skip
def test_the_guard_sees_what_must_not_happen(act: str) -> None:
    """In a process of its own: audit hooks stay for good."""
    script = f"""
import os, pickle, socket, subprocess
from pathlib import Path
from tests.alpamayo.fuzz import Guard
guard = Guard(Path("/nowhere"))
guard.start()
{act}
print(sorted(guard.stop()))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=170, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() != "[]"


# ---- what fuzzing found ----
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learner:\n  lr: &a [*a]\n", "expected"),
        ("&a [*a]\n", "at most 20000 keys, 50 levels deep"),
        ("learner:\n  lr: 1" + "0" * 400 + "\n", "lr: expected a number"),
        ("%YAML 9.9\n---\nseed: 1\n", "expected valid YAML"),
    ],
)
def test_settings_that_once_broke_the_reader(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(RequestError, match=expected) as error:
        load_config("train", str(file))
    assert str(file) in str(error.value) and len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (("num_hidden_layers",), 10**9, "num_hidden_layers must be from 0 to 1024"),
        (("alpamayo", "action", "steps"), 10**12, "steps must be from 0 to 1024"),
        (("alpamayo", "action", "accel_bins"), 10**9, "accel_bins must be from 0 to 999"),
        (("alpamayo", "prompt", "user_ids"), [10**6], "prompt ids must lie in 0..1023"),
        (("vision_config", "rope_parameters", "rope_theta"), -3.0, "rope_theta must be above 1"),
        (("rope_parameters", "factor"), float("inf"), "factor: expected a number of this world"),
    ],
)
def test_networks_that_no_machine_holds_are_refused(
    place: tuple[str, ...], value: object, expected: str
) -> None:
    document = to_json(VLMConfig.preset("tiny"))
    part = document
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    with pytest.raises(ValueError, match=expected):
        from_json(document)


def test_deep_parameters_of_a_replays_scenario_are_refused() -> None:
    from scenarios.load import load_document
    from scenarios.sample import sample

    data = to_plain(sample(load_document("cut_in"), 1))
    deep: object = 1
    for _ in range(400):
        deep = [deep]
    data["parameters"]["x"] = deep
    with pytest.raises(RequestError, match="at most 50 levels"):
        from_plain(Scenario, data, "scenario")

"""``alpamayo train`` while a worker, an inference actor and the learner are killed by pid."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alpamayo.config import to_yaml
from tests.alpamayo import small_run
from tests.alpamayo.test_train_faults import PATIENCE_S, ROOT, command, describe, environment

ITERATIONS, GROUP = 24, 4
BOUND = 2
# How Ray names the processes.
WORKER, INFERENCE, LEARNER = "ray::RolloutRunner", "ray::InferenceActor", "ray::_WrappedExecutable"


def settings(folder: Path) -> Path:
    init = small_run.save_small_policy(folder / "policy")
    config = small_run.small_config(folder / "runs", init, importance_cap=2.0)
    rollout = replace(
        config.rollout, mode="asynchronous", max_staleness=BOUND, backend="pool", pool_actors=1
    )
    placement = replace(config.placement, learners=1)
    config = replace(
        config,
        rollout=rollout,
        placement=placement,
        learner=replace(config.learner, iterations=ITERATIONS),
    )
    file = folder / "train.yaml"
    file.write_text(to_yaml(config))
    return file


def found(process: subprocess.Popen[str], name: str) -> list[int]:
    from alpamayo.rollout.ray_session import descendants

    pids = [pid for pid, _ in descendants(process.pid)]
    return sorted(pid for pid in pids if name in describe(pid))


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def kill_one(process: subprocess.Popen[str], name: str, rng: random.Random) -> int:
    """At some moment of the next seconds."""
    end = time.monotonic() + PATIENCE_S
    time.sleep(rng.uniform(0.0, 1.0))
    while not (pids := found(process, name)):
        assert process.poll() is None and time.monotonic() < end, name
        time.sleep(0.2)
    os.kill(pids[0], signal.SIGKILL)
    return pids[0]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(4 * PATIENCE_S)
def test_a_run_outlives_a_worker_an_inference_actor_and_its_learner(tmp_path: Path) -> None:
    rng = random.Random(7)
    process = subprocess.Popen(
        command("--config", str(settings(tmp_path))),
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    run = Path(process.stdout.readline().split(": ", 1)[1].strip())
    victims = [WORKER, INFERENCE, LEARNER]
    rng.shuffle(victims)
    killed = {}
    for after, name in enumerate(victims, start=1):
        end = time.monotonic() + PATIENCE_S
        while len({row["step"] for row in lines(run / "metrics.jsonl")}) < 4 * after - 2:
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        killed[name] = kill_one(process, name, rng)
    _, errors = process.communicate(timeout=2 * PATIENCE_S)
    assert process.returncode == 0, errors
    assert "a learner process died; going on after iteration" in errors
    check_run(run)


def check_run(run: Path) -> None:
    """The run ended as asked, and its ledger adds up."""
    assert json.loads((run / "status.json").read_text())["status"] == "finished"
    metrics = lines(run / "metrics.jsonl")
    assert [row["step"] for row in metrics] == list(range(1, ITERATIONS + 1))
    versions = [row["charts/weights_version"] for row in metrics]
    assert versions == sorted(versions) and versions[-1] == ITERATIONS
    assert sum(row["rollout/plans_asked_again"] for row in metrics) >= 1  # the actor's death

    rows = lines(run / "ledger.jsonl")
    requested = [row for row in rows if row["event"] == "requested"]
    fates = {row["sample"]: row for row in rows}  # the last row counts
    assert [row["sample"] for row in requested] == list(range(len(requested)))
    assert set(fates) == set(range(len(requested)))
    count = Counter(row["event"] for row in fates.values())
    assert "requested" not in count
    assert count["trained"] + count["dropped"] + count["lost"] == len(requested)
    reasons = Counter(row.get("reason") for row in fates.values())
    assert reasons["worker died"] + reasons["failed"] >= 1
    assert any(str(reason).startswith("learner died") for reason in reasons)

    trained = [row for row in fates.values() if row["event"] == "trained"]
    assert len(trained) == 2 * ITERATIONS
    assert all(row["episodes"] == GROUP * row["groups"] == 16 for row in trained)
    assert all(0 <= row["staleness"] <= BOUND for row in trained)
    # Between two starts of the loop, requests name ever newer weights.
    restarts = [n for n, row in enumerate(rows) if row.get("reason", "").startswith("learner")]
    begin, end = min(restarts), max(restarts)
    for part in (rows[:begin], rows[end:]):
        named = [row["weights_version"] for row in part if row["event"] == "requested"]
        assert named == sorted(named)

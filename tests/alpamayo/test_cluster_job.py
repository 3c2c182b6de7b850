"""A real job on a real head node, which is killed in the middle and comes back: submit, follow,
resume, status, fetch. The token is in nothing that is left behind.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from alpamayo.cluster.client import Unreachable, ray_version
from alpamayo.rollout.ray_session import descendants, end_processes
from tests.alpamayo.small_run import save_small_policy

ITERATIONS = 4
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(2000.0)]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [int(s.getsockname()[1]) for s in sockets]
    for s in sockets:
        s.close()
    return ports


@dataclass
class Head:
    """A head node that can be killed and started again under the same address."""

    folder: str
    ports: list[int]
    env: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.ports[1]}"

    def start(self) -> None:
        gcs, dashboard, client = self.ports
        self.process = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("ray")), "start", "--head", "--block",
                "--num-cpus", "3", "--port", str(gcs), "--include-dashboard", "true",
                "--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard),
                "--ray-client-server-port", str(client), "--node-ip-address", "127.0.0.1",
                "--temp-dir", self.folder, "--object-store-memory", str(200 << 20),
                "--disable-usage-stats",
            ],
            env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        wait_for(self.answers, 180.0, "the head node to answer")

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "ray start ended"
        try:
            ray_version(self.address)
        except Unreachable:
            return False
        return True

    def kill(self) -> None:
        """Everything of it at once, as when the machine is lost."""
        if self.process is None:
            return
        started = set(descendants(self.process.pid))
        self.process.kill()
        for pid, _ in started:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        end_processes(started, patience_s=10.0)


def wait_for(reached: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.2)


@pytest.fixture
def head() -> Iterator[Head]:
    pytest.importorskip("aiohttp", reason="needs ray[default]")
    folder = tempfile.mkdtemp(prefix="alp-h-", dir="/tmp")
    keep = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    path = f"{Path(sys.executable).parent}:{keep['PATH']}"
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    here = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    node = Head(folder, free_ports(3), {**keep, **token, **here, "PATH": path})
    try:
        node.start()
        yield node
    finally:
        node.kill()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_job_outlives_its_head_node_and_its_results_come_home(head: Head, tmp_path: Path) -> None:
    store, policy = tmp_path / "store", save_small_policy(tmp_path / "policy")

    def alpamayo(*words: str) -> list[str]:
        return [sys.executable, "-m", "alpamayo", "submit", *words]

    def metrics() -> list[dict[str, float]]:
        rows = [row for file in store.glob("t1/*/metrics.jsonl") for row in file.open()]
        return [json.loads(row) for row in rows if row.endswith("\n")]

    settings = [
        f"learner.iterations={ITERATIONS}", "learner.epochs=1", "learner.threads=1",
        f"policy.init={policy}", "sim.rig.width_px=56", "sim.rig.height_px=28",
        "sim.rig.frames=1", "rollout.workers=2", "rollout.worlds_per_worker=8",
        "rollout.group_size=4", "eval.every=0", "checkpoint.every=1",
    ]  # fmt: skip
    job = ["--address", head.address, "--storage", str(store), "--name", "t1", "--no-upload"]

    submitting = subprocess.Popen(
        alpamayo(*job, "--config", "configs/train/cpu.yaml", *settings),
        env=head.env, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip

    def driven() -> bool:
        if submitting.poll() is not None:
            raise AssertionError(f"it ended before its time: {submitting.communicate()[0]}")
        return len(metrics()) > 0

    try:
        wait_for(driven, 900.0, "the first iteration")
        head.kill()
        head.start()
        printed, _ = submitting.communicate(timeout=900.0)
    finally:
        submitting.kill()
    assert submitting.returncode == 0, printed
    assert "was lost with its node; submitted again as" in printed
    assert "going on with" in printed
    assert [row["step"] for row in metrics()] == list(range(1, ITERATIONS + 1))
    [status] = [json.loads(file.read_text()) for file in store.glob("t1/*/status.json")]
    assert status["status"] == "finished"
    assert "resumed" in status

    def told(*words: str) -> dict[str, str]:
        done = subprocess.run(
            alpamayo(*words, "--json"), env=head.env, cwd=tmp_path, capture_output=True, text=True,
            timeout=120.0, check=True,
        )  # fmt: skip
        answer: dict[str, str] = json.loads(done.stdout)
        return answer

    assert told("status")["status"] == "SUCCEEDED"
    fetched = Path(told("fetch", "t1")["fetched"])
    assert fetched == Path("runs/t1")
    assert list((tmp_path / fetched).glob("*/metrics.jsonl"))
    token = head.env["RAY_AUTH_TOKEN"].encode()
    left = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not [file for file in left if token in file.read_bytes()]
    assert token.decode() not in printed

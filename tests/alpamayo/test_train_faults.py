"""``alpamayo train`` as a user runs it: Ctrl-C, resuming, and requests that cannot work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alpamayo import training
from alpamayo.cli.main import main
from alpamayo.config import load_config, to_yaml
from alpamayo.types import RequestError
from tests.alpamayo import small_run

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 300.0


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a policy and ``train.yaml``; runs go to ``runs/``."""
    folder = tmp_path_factory.mktemp("train")
    init = small_run.save_small_policy(folder / "policy")
    config = small_run.small_config(folder / "runs", init)
    (folder / "train.yaml").write_text(to_yaml(config))
    return folder


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "alpamayo", "train", *words]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def alpamayo_train(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), cwd=ROOT, env=environment(), capture_output=True, text=True,
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip


def describe(pid: int) -> str:
    """State and command of a process; empty if it has ended, reaped by its parent or not yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        command_line = Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
    return "" if state == "Z" else f"{pid} {state} {command_line}"


def rows(run: Path, name: str = "metrics.jsonl") -> list[int]:
    return [json.loads(line)["step"] for line in (run / name).read_text().splitlines()]


def wait_for_lines(file: Path, count: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not (file.is_file() and len(file.read_text().splitlines()) >= count):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(2 * PATIENCE_S)
def test_ctrl_c_leaves_a_run_that_resumes_and_no_processes(setting: Path) -> None:
    from alpamayo.rollout.ray_session import descendants

    # Own session: the signal reaches the whole process group, as from a terminal.
    process = subprocess.Popen(
        command("--config", str(setting / "train.yaml"), "learner.iterations=1000"),
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    run = Path(process.stdout.readline().split(": ", 1)[1].strip())
    wait_for_lines(run / "metrics.jsonl", 2, process)
    below = descendants(process.pid)
    assert len(below) >= 4  # Ray's own and two workers
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 130, errors
    assert f"alpamayo train --resume {run}" in errors and "Traceback" not in errors
    assert not [alive for pid, _ in below if (alive := describe(pid))]
    assert json.loads((run / "status.json").read_text())["status"] == "interrupted"
    done = rows(run)
    assert done == list(range(1, len(done) + 1))
    assert (run / "checkpoints" / "latest").resolve().name == f"iter_{done[-1]:04d}"

    # A crash may leave rows of iterations that the last checkpoint has not seen, and half a line.
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": done[-1] + 1}) + '\n{"step": ')
    target = done[-1] + 1
    resumed = alpamayo_train("--resume", str(run), f"learner.iterations={target}", "--json")
    assert resumed.returncode == 0, resumed.stderr
    document = json.loads(resumed.stdout)
    assert document["iterations"] == target
    assert document["metrics"]["charts/weights_version"] == target
    assert document["metrics"]["rollout/weights_version"] == target - 1
    assert rows(run) == list(range(1, target + 1))
    assert set(rows(run, "episodes.jsonl")) == set(range(1, target + 1))
    assert json.loads((run / "status.json").read_text())["status"] == "finished"
    _check_finished_run(run, target)


def _check_finished_run(run: Path, target: int) -> None:
    """What a finished run holds; resuming it is refused, a damaged checkpoint is named."""
    from policies.vlm import from_pretrained

    newest = run / "checkpoints" / f"iter_{target:04d}"
    from_pretrained(newest)
    from_pretrained(run / "checkpoints" / "latest")
    names = {p.suffix for p in newest.rglob("*") if p.is_file()}
    assert names == {".json", ".safetensors"}

    with pytest.raises(RequestError, match=f"has finished its {target} iterations"):
        _train_again(run)
    tensors = newest / "training" / "learner.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:100])
    with pytest.raises(RequestError, match=r"learner\.safetensors: expected a safetensors file"):
        _train_again(run)
    (newest / "training" / "state.json").write_text("{")
    with pytest.raises(RequestError, match=r"state\.json: expected the counters of a run"):
        _train_again(run)


def _train_again(run: Path) -> None:
    from alpamayo.run_dir import RunDir

    opened = RunDir.open(run)
    training.train(opened.config, opened, resume=True)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["rollout.suite=nowhere"], "nowhere"),
        (["policy.init=/no/such/policy"], "/no/such/policy"),
        (["policy.decode.mode=threshold"], "policy.decode.mode: training needs executed_first"),
        (["policy.decode.select=greedy"], "training needs select = sample"),
        (["learner.lrr=1"], "lrr"),
        (["rollout.worlds_per_worker=10"], "rollout.worlds_per_worker"),
    ],
)
def test_requests_that_cannot_work_end_in_one_line_and_leave_nothing(
    setting: Path,
    words: list[str],
    complaint: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = ["--config", str(setting / "train.yaml"), f"run_root={tmp_path / 'runs'}"]
    assert main(["train", *config, *words]) == 2
    said = capsys.readouterr()
    assert complaint in said.err and len(said.err.strip().splitlines()) == 1 and not said.out
    assert not (tmp_path / "runs").exists()


def test_resuming_needs_a_run_and_keeps_its_settings(
    setting: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--resume", str(tmp_path / "nothing")]) == 2
    assert "no such run directory" in capsys.readouterr().err
    assert main(["train", "--resume", "runs/x", "--config", str(setting / "train.yaml")]) == 2
    assert "leave --config out" in capsys.readouterr().err


def test_rows_after_the_checkpoint_are_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1}\n{"step": 2, "a": 1}\n{"step": 3}\n{"st')
    training.drop_rows_after(file, 2)
    assert file.read_text() == '{"step": 1}\n{"step": 2, "a": 1}\n'
    training.drop_rows_after(tmp_path / "absent", 2)


def test_only_our_sections_of_the_result_become_metrics() -> None:
    result = {"losses": {"kl": 1}, "charts": {"SPS": 2.5}, "env_runners": {"x": 1}, "done": False}
    assert training.flatten(result) == {"charts/SPS": 2.5, "losses/kl": 1.0}


def test_the_first_signal_waits_for_a_safe_point_and_the_second_does_not() -> None:
    stop, before = training.StopSignal(), signal.getsignal(signal.SIGINT)
    with stop.installed(), stop.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        assert stop.requested and stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1.0)
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_loop_a_signal_interrupts_at_once() -> None:
    stop = training.StopSignal()
    with stop.installed(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1.0)


def test_the_small_run_is_a_valid_config(setting: Path) -> None:
    config = load_config("train", str(setting / "train.yaml"))
    assert config.rollout.workers == 2 and config.eval.every == 0

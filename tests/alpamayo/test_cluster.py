"""Jobs on a cluster: what travels, what is checked, how they are followed, where results lie."""

from __future__ import annotations

import json
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from alpamayo.cluster import entry, preflight, probe
from alpamayo.cluster.client import JobState, Unreachable
from alpamayo.cluster.follow import follow
from alpamayo.cluster.records import recall, remember
from alpamayo.cluster.storage import Mirror, check_storage, download
from alpamayo.cluster.submit import Job, make_job
from alpamayo.config import RunConfig, load_config
from alpamayo.run_dir import RunDir
from alpamayo.types import CheckFailed, RequestError

ROOT = Path(__file__).resolve().parents[2]
JOB = Job(
    "http://head:8265", str(ROOT), "train", "night", "/shared/runs", "configs/train/cpu.yaml",
    ("learner.lr=1e-5",),
)  # fmt: skip
RUNNING, DONE = JobState("RUNNING", "", None), JobState("SUCCEEDED", "", 0)
LOST = JobState("FAILED", "its node died", None)


# What travels ----------------------------------------------------------------------------------
def test_a_job_is_a_command_whose_results_go_to_its_storage() -> None:
    assert JOB.entrypoint == (
        "python -m alpamayo.cli.job --storage /shared/runs --name night -- "
        "train --config configs/train/cpu.yaml learner.lr=1e-5"
    )
    assert {".git/", ".venv/", "/runs/"} <= set(JOB.runtime_env["excludes"])
    assert replace(JOB, working_dir=None).runtime_env == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"storage": "runs"}, "--storage runs: expected an absolute path"),
        ({"storage": "nosuch://b"}, "--storage nosuch://b: fsspec knows no nosuch://"),
        ({"name": "a b"}, "--name a b: expected letters"),
        ({"name": "../up"}, "--name ../up: expected letters"),
        ({"working_dir": "/tmp"}, "--working-dir /tmp: expected a checkout"),
        ({"config": "/etc/hostname"}, "/etc/hostname"),
        ({"overrides": ["run_root=x"]}, "run_root: results of a job go to its --storage"),
        ({"overrides": ["learner.lr=-1"]}, "command line: learner.lr=-1"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_travels(
    change: dict[str, Any], expected: str
) -> None:
    asked: dict[str, Any] = {
        "address": "http://head:8265", "working_dir": str(ROOT), "overrides": [],
        "config": "configs/train/cpu.yaml", "storage": "/shared", "name": "night", **change,
    }  # fmt: skip
    with pytest.raises(RequestError) as caught:
        make_job(**asked)
    assert expected in str(caught.value)


def test_a_job_is_remembered_by_its_id_its_name_or_as_the_last(tmp_path: Path) -> None:
    remember(JOB, ("raysubmit_a", "raysubmit_b"), tmp_path)
    other = remember(replace(JOB, name="day"), ("raysubmit_c",), tmp_path)
    assert recall(None, tmp_path) == other
    for word in ("raysubmit_a", "raysubmit_b", "night"):
        record = recall(word, tmp_path)
        assert (record.job, record.job_id) == (JOB, "raysubmit_b")
        assert record.results == "/shared/runs/night"
    with pytest.raises(RequestError, match="no job noon known here"):
        recall("noon", tmp_path)
    (tmp_path / "x.json").write_text('{"job": {}, "ids": []}')
    with pytest.raises(RequestError, match=r"x\.json: expected a note of a job"):
        recall(None, tmp_path)


# What is checked -------------------------------------------------------------------------------
def told(**change: Any) -> dict[str, Any]:
    """What a probe of a cluster as it should be tells."""
    return {
        "python": platform.python_version(), "ray": ray.__version__,
        "packages": list(probe.PACKAGES), "alpamayo": True, "storage_problem": "",
        "nodes": [{"CPU": 1.0}, {"CPU": 2.0, "GPU": 1.0}], **change,
    }  # fmt: skip


def problems(job: Job = JOB, workers: int = 3, **change: Any) -> dict[str, str]:
    config = load_config("train", None, [f"rollout.workers={workers}"])
    assert isinstance(config, RunConfig)
    return {f.what: f.problem for f in preflight.judge(job, config, told(**change)) if not f.ok}


def test_a_cluster_that_has_everything_raises_no_objection() -> None:
    assert problems() == {}


@pytest.mark.parametrize(
    ("change", "what", "advice"),
    [
        ({"python": "3.9.1"}, "python", "use an image with that Python"),
        ({"ray": "2.10.0"}, "ray", "pip install 'ray[default]==2.10.0'"),
        ({"packages": ["torch"]}, "packages", "gymnasium"),
        ({"nodes": [{"CPU": 2.0}]}, "resources", "set rollout.workers=2"),
        ({"storage_problem": "PermissionError: no"}, "storage", "PermissionError: no"),
        ({"job": replace(JOB, working_dir=None), "alpamayo": False}, "alpamayo", "--no-upload"),
    ],
)
def test_each_thing_that_lacks_is_named_with_what_to_do(
    change: dict[str, Any], what: str, advice: str
) -> None:
    found = problems(**change)
    assert list(found) == [what]
    assert advice in found[what]


def test_a_worker_takes_a_core_of_one_node() -> None:
    assert "set rollout.workers=2" in problems(nodes=[{"CPU": 1.5}, {"CPU": 1.5}])["resources"]


@pytest.mark.parametrize("place", ["{tmp}/new/runs", "memory://bucket/runs"])
def test_the_probe_writes_to_the_storage_and_leaves_nothing(place: str, tmp_path: Path) -> None:
    assert probe.writable(place.format(tmp=tmp_path)) == ""
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    (tmp_path / "file").write_text("")
    assert "Error" in probe.writable(str(tmp_path / "file" / "runs"))


class FakeCluster:
    """Plays a list of states; an exception among them is raised. Each look prints a line more."""

    def __init__(self, states: list[JobState | Exception]) -> None:
        self.states, self.submitted, self.looks = states, 0, 0

    def state(self, job_id: str) -> JobState:
        state = self.states.pop(0)
        self.looks += 1
        if isinstance(state, Exception):
            raise state
        return state

    def logs(self, job_id: str) -> str:
        return "".join(f"{job_id} line {n}\n" for n in range(self.looks)) + "half a li"

    def submit(self, job: Job) -> str:
        self.submitted += 1
        self.looks = 0
        return f"again{self.submitted}"

    def run(self, entrypoint: str, environment: dict[str, str]) -> str:
        return "probe"

    def stop(self, job_id: str) -> bool:
        return True


def watched(
    states: list[JobState | Exception], tmp_path: Path, retries: int = 2, patience_s: float = 60.0
) -> tuple[JobState, str, list[str], FakeCluster]:
    cluster, text, said = FakeCluster(states), [], []
    record, state = follow(
        remember(JOB, ("first",), tmp_path), show=text.append, say=said.append, retries=retries,
        connect=lambda _: cluster, sleep=lambda _: None, patience_s=patience_s, folder=tmp_path,
    )  # type: ignore[arg-type,return-value]  # fmt: skip
    assert recall("night", tmp_path) == record
    return state, "".join(text), said, cluster


def test_a_job_is_followed_line_by_line_to_its_end(tmp_path: Path) -> None:
    state, text, said, _ = watched([RUNNING, RUNNING, DONE], tmp_path)
    assert state == DONE
    assert text == "first line 0\nfirst line 1\nfirst line 2\nhalf a li\n"
    assert said == []


def test_a_head_that_is_away_for_a_while_is_waited_for(tmp_path: Path) -> None:
    away = Unreachable("no answer")
    state, _, said, cluster = watched([RUNNING, away, away, away, DONE], tmp_path)
    assert (state, cluster.submitted) == (DONE, 0)
    assert said == ["no answer; waiting for it (the job may well go on)"]
    with pytest.raises(Unreachable):
        watched([RUNNING, *[away] * 50], tmp_path, patience_s=20.0)


def test_a_job_whose_node_was_lost_is_submitted_again_until_that_is_too_often(
    tmp_path: Path,
) -> None:
    gone = RequestError("the cluster knows nothing of first")  # a head that was started anew
    state, text, said, cluster = watched([RUNNING, gone, RUNNING, LOST, DONE], tmp_path)
    assert (state, cluster.submitted) == (DONE, 2)
    assert "first was lost with its node; submitted again as again1" in said
    assert "again2 line 0" in text
    assert recall("night", tmp_path).ids == ("first", "again1", "again2")
    state, _, _, cluster = watched([LOST], tmp_path, retries=0)
    assert (state, cluster.submitted) == (LOST, 0)


def test_a_job_that_failed_by_itself_is_not_submitted_again(tmp_path: Path) -> None:
    failed = JobState("FAILED", "exit code 2", 2)
    state, _, _, cluster = watched([RUNNING, failed], tmp_path)
    assert (state, cluster.submitted) == (failed, 0)


def test_a_probe_that_tells_nothing_ends_in_its_last_line() -> None:
    failed = FakeCluster([RUNNING, JobState("FAILED", "", 127)])
    failed.logs = lambda _: "setting up\nsh: python: not found\n"  # type: ignore[method-assign]
    with pytest.raises(CheckFailed, match="the probe failed on the cluster: sh: python: not found"):
        preflight.look_inside(failed, "/x", sleep=lambda _: None)  # type: ignore[arg-type]
    well = FakeCluster([DONE])
    well.logs = lambda _: f"noise\n{probe.MARK}{json.dumps(told())}\n"  # type: ignore[method-assign]
    assert preflight.look_inside(well, "/x") == told()  # type: ignore[arg-type]


# Where results lie -----------------------------------------------------------------------------
def test_a_mirror_sends_what_is_new_or_has_changed_and_brings_it_back(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}/runs/night"
    here, there = tmp_path / "here", tmp_path / "there"
    with Mirror(here, url, every_s=1000.0) as mirror:
        (here / "checkpoints").mkdir()
        (here / "checkpoints" / "a").write_bytes(b"1")
        (here / "status.json").write_text("{}")
        (here / "metrics.jsonl.part").write_text("half")
        assert mirror.upload() == 2
        assert mirror.upload() == 0
        (here / "status.json").write_text('{"status": "running"}')
        assert mirror.upload() == 1
        (here / "late").write_text("at the very end")
    assert download(url, there) == 3
    assert (there / "checkpoints" / "a").read_bytes() == b"1"
    assert (there / "status.json").read_text() == '{"status": "running"}'
    assert (there / "late").read_text() == "at the very end"
    with Mirror(tmp_path / "elsewhere", url, every_s=1000.0) as again:
        assert (again.folder / "late").is_file(), "a job that starts anew finds what it left"
        assert again.upload() == 0


def test_nothing_at_a_place_is_nothing_to_fetch(tmp_path: Path) -> None:
    assert download(str(tmp_path / "nowhere"), tmp_path / "to") == 0
    assert check_storage(f"file://{tmp_path}/") == str(tmp_path)


# Going on --------------------------------------------------------------------------------------
WORDS = ["train", "--config", "configs/train/cpu.yaml", "learner.lr=1e-5"]


def left_behind(root: Path, status: str) -> Path:
    config = load_config("train", None, [f"run_root={root}"])
    run = RunDir.create("train", config)
    run.set_status(status)
    return run.path


def test_a_job_begins_in_its_folder_and_goes_on_with_what_it_left_there(tmp_path: Path) -> None:
    assert entry.command(WORDS, tmp_path) == [*WORDS, f"run_root={tmp_path}"]
    run = left_behind(tmp_path, "running")  # as a node that was lost leaves it
    resumed = ["train", "--resume", str(run), "learner.lr=1e-5"]
    assert entry.command(WORDS, tmp_path) == resumed
    RunDir.open(run).set_status("finished")
    assert entry.command(WORDS, tmp_path) == [*WORDS, f"run_root={tmp_path}"]


def test_a_run_that_died_while_it_was_made_is_passed_over(tmp_path: Path) -> None:
    run = left_behind(tmp_path, "interrupted")
    broken = tmp_path / "later"
    broken.mkdir()
    (broken / "status.json").write_text("{half")
    assert entry.unfinished_run(tmp_path) == run
    assert entry.command(["demo", "--config", "c"], tmp_path)[0] == "demo", "a demo starts anew"

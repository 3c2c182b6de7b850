"""What can be known to be wrong before a job starts. A probe (a job of seconds) looks at the
cluster from inside: versions, packages, resources, and whether the storage can be written.
"""

from __future__ import annotations

import base64
import json
import platform
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alpamayo.cluster import probe
from alpamayo.cluster.client import Cluster
from alpamayo.cluster.submit import Job
from alpamayo.config import RunConfig
from alpamayo.placement import missing, roles, told
from alpamayo.types import CheckFailed

PROBE_TIMEOUT_S = 300.0
POLL_S = 1.0
# The setting that says how many there are.
SIZE = {
    "rollout worker": "rollout.workers",
    "learner": "placement.learners",
    "inference actor": "rollout.pool_actors",
}
# Not needed to drive and learn: the camera's encoder of replays.
OPTIONAL = ("cv2",)


@dataclass(frozen=True)
class Finding:
    """One thing looked at; ``problem`` says what to do about it, "" if all is well."""

    what: str
    seen: str
    problem: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem


def look_inside(cluster: Cluster, storage: str, sleep: Callable[[float], None] = time.sleep) -> Any:
    """What the probe told: see ``alpamayo.cluster.probe``."""
    source = base64.b64encode(Path(probe.__file__).read_bytes()).decode()
    code = f"import base64;exec(base64.b64decode('{source}').decode())"
    job_id = cluster.run(shlex.join(["python", "-c", code, storage]), {})
    deadline = time.monotonic() + PROBE_TIMEOUT_S
    while not (state := cluster.state(job_id)).ended:
        if time.monotonic() > deadline:
            cluster.stop(job_id)
            raise CheckFailed(
                f"the cluster did not run a probe within {PROBE_TIMEOUT_S:.0f} s: no free "
                "resources on its head node?"
            )
        sleep(POLL_S)
    logs = cluster.logs(job_id)
    for line in logs.splitlines():
        if line.startswith(probe.MARK):
            return json.loads(line.removeprefix(probe.MARK))
    last = (logs.strip().splitlines() or [state.message])[-1]
    raise CheckFailed(f"the probe failed on the cluster: {last}")


def judge(job: Job, config: RunConfig, told: dict[str, Any]) -> list[Finding]:
    """Compare what the cluster has with what ``job`` needs."""
    return [
        _python(told["python"]),
        _ray(told["ray"]),
        _packages(told["packages"]),
        _alpamayo(job, told["alpamayo"]),
        _resources(config, told["nodes"]),
        Finding(
            "storage",
            job.storage,
            told["storage_problem"]
            and f"the head node cannot write there: {told['storage_problem']}",
        ),
    ]


def _python(theirs: str) -> Finding:
    ours = platform.python_version()
    same = theirs.split(".")[:2] == ours.split(".")[:2]
    problem = f"Ray needs the same minor version; here it is {ours}: use an image with that Python"
    return Finding("python", theirs, "" if same else problem)


def _ray(theirs: str) -> Finding:
    import ray

    problem = f"here it is {ray.__version__}: pip install 'ray[default]=={theirs}' here, or there"
    return Finding("ray", theirs, "" if theirs == ray.__version__ else problem)


def _packages(found: list[str]) -> Finding:
    missing = [name for name in probe.PACKAGES if name not in (*found, *OPTIONAL)]
    problem = f"missing on the cluster: {', '.join(missing)}: use an image with the requirements"
    return Finding("packages", f"{len(found)} of {len(probe.PACKAGES)}", problem if missing else "")


def _alpamayo(job: Job, installed: bool) -> Finding:
    if job.working_dir is not None:
        return Finding("alpamayo", f"{job.working_dir} is uploaded")
    problem = "not installed on the cluster: leave --no-upload out, or use an image that has it"
    return Finding("alpamayo", "the cluster's own", "" if installed else problem)


def _resources(config: RunConfig, nodes: list[dict[str, float]]) -> Finding:
    """Room for every process of the run; the one that drives it asks for nothing."""
    wanted = roles(config)
    cores, gpus = (sum(node.get(name, 0) for node in nodes) for name in ("CPU", "GPU"))
    seen = f"{len(nodes)} nodes with {cores:g} CPUs and {gpus:g} GPUs; " + "; ".join(
        f"{r.count} x {r.name} ({told(r.each)} each)" for r in wanted
    )
    without = missing(wanted, nodes)
    problems = [
        f"no room for {without[role.name]} of {role.count} x {role.name}: set {SIZE[role.name]}="
        f"{max(role.count - without[role.name], 0)}, or let the cluster grow first"
        for role in wanted
        if role.name in without
    ]
    return Finding("resources", seen, "; ".join(problems))

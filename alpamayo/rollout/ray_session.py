"""Ray for the length of one run: its own temporary directory, a small object store, and nothing
left afterwards.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import ray

from alpamayo.config import RunConfig
from alpamayo.placement import custom, missing, roles, told
from alpamayo.types import CheckFailed, RequestError

MIN_STORE_BYTES = 256 << 20
END_S = 10.0  # how long Ray's processes may take to end


def store_bytes(run: RunConfig) -> int:
    """Room for observations: what the learner reads, and what the workers already write or, where
    they run ahead of it, have written.
    """
    rig, sim, rollout = run.sim.rig, run.sim, run.rollout
    image = 0 if rig is None else rig.frames * rig.width_px * rig.height_px * 3
    samples = 2 * rollout.workers
    if rollout.mode == "asynchronous":
        samples = rollout.update_samples * (rollout.max_staleness + 2)
    decisions = samples * rollout.worlds_per_worker * (12.0 / sim.decision_s + 2)
    return MIN_STORE_BYTES + int(decisions * (image + 1024))


@contextlib.contextmanager
def ray_session(run: RunConfig, *, object_store_memory: int | None = None) -> Iterator[None]:
    """Start Ray, or join the cluster that RAY_ADDRESS names; stop what was started, also after an
    error. RequestError if this machine has not what the run's ``placement`` asks for.
    """
    # Ray's and RLlib's advice to developers; what matters to a user is raised or told by the loop.
    for name in ("ray", "ray.rllib"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if ray.is_initialized():  # the caller's Ray, the caller's business
        yield
        return
    if os.environ.get("RAY_ADDRESS"):
        # Sizes are the cluster's; Ray refuses them here.
        ray.init(log_to_driver=False)
        try:
            yield
        finally:
            ray.shutdown()
        return
    # Sockets live below it and their paths are limited to 107 bytes, so not below the run
    # directory.
    folder = tempfile.mkdtemp(prefix="alp-", dir="/tmp")
    before = set(descendants(os.getpid()))
    try:
        _start(run, folder, object_store_memory or store_bytes(run))
        yield
    finally:
        _shut_down(set(descendants(os.getpid())) - before)
        shutil.rmtree(folder, ignore_errors=True)


def _start(run: RunConfig, folder: str, object_store_memory: int) -> None:
    wanted = roles(run)
    named = {name: 1.0 for role in wanted for name in custom(role.each)}
    asked = sum(role.count * role.each["CPU"] for role in wanted)
    # A signal to the whole process group (a job scheduler, `timeout`) must reach this process
    # alone, or Ray is gone before the run is saved. Children inherit the mask.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        with loopback():
            ray.init(
                # Cores are shared if there are too few; a learner in this process is not counted.
                num_cpus=max(math.ceil(asked), os.cpu_count() or 1) + 1,
                resources=named,  # a cluster's kinds of nodes are all here
                object_store_memory=object_store_memory,
                include_dashboard=False,
                _temp_dir=folder,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
            )
    except Exception as error:
        # Ray gives its processes 30 s, which a crowded machine may not have.
        raise CheckFailed(f"Ray did not start ({error}); is the machine overloaded?") from error
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    for name, count in missing(wanted, [node["Resources"] for node in ray.nodes()]).items():
        each = next(told(role.each) for role in wanted if role.name == name)
        raise RequestError(
            f"placement: expected a machine with room for every {name} ({each} each), "
            f"{count} found none"
        )


@contextlib.contextmanager
def loopback() -> Iterator[None]:
    """Ray started inside listens on 127.0.0.1 only. On Linux it would listen on every interface,
    as a node that others may join; on Windows and macOS this is what it does by itself.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _shut_down(started: set[tuple[int, str]]) -> None:
    """``ray.shutdown``, and the end of every process that Ray had ``started``."""

    def kill_after_goodbye() -> None:
        # They ignore SIGTERM (see above), and ray.shutdown would wait a second for each of them.
        while ray.is_initialized():
            time.sleep(0.01)
        end_processes(started, patience_s=0.5)  # this process's own goodbye to them comes first

    killer = threading.Thread(target=kill_after_goodbye)
    killer.start()
    try:
        ray.shutdown()
    finally:
        killer.join(timeout=END_S)
        end_processes(started, patience_s=END_S)


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Drop what C++ code writes to stderr; Ray has advice about restarting actors that fits no
    setting.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def descendants(pid: int) -> list[tuple[int, str]]:
    """(pid, start time) of every process below ``pid``; the start time tells a reused pid apart."""
    children: dict[int, list[tuple[int, str]]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = entry.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append((int(entry.parent.name), fields[19]))
    found: list[tuple[int, str]] = []
    queue = [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += [child for child, _ in below]
    return found


def end_processes(processes: set[tuple[int, str]], patience_s: float) -> None:
    """Wait for ``processes`` to end; those that do not within ``patience_s`` are killed."""
    deadline = time.monotonic() + patience_s
    left = {p for p in processes if _alive(*p)}
    while left and time.monotonic() < deadline:
        left = {p for p in left if _alive(*p)}
        time.sleep(0.05)
    for pid, _ in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _alive(pid: int, start: str) -> bool:
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if fields[0] == "Z":  # ours: reap it, or it stays listed until this process ends
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            return False
        return fields[19] == start
    return False

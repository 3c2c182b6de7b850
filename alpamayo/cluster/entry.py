"""What a job runs on the cluster. Results go to ``storage``/``name``. A job that finds a run of its
own there that did not finish (its head node was lost, the pod was moved) goes on with it from the
last checkpoint.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from alpamayo.cluster.storage import Mirror, is_url
from alpamayo.types import RequestError

WARM_S = 10.0  # a node that has compiled answers within this


def run_job(storage: str, name: str, words: list[str], run: Callable[[list[str]], int]) -> int:
    """Give ``run`` the command line ``words`` (train or demo and its settings), made to begin or to
    go on below ``storage``/``name``; returns its exit code.
    """
    place = f"{storage}/{name}"
    print(f"results: {place}", flush=True)
    with _folder(place) as root, on_the_cluster():
        return run(command(words, root))


@contextlib.contextmanager
def _folder(place: str) -> Iterator[Path]:
    """``place`` as a folder: itself, or a mirrored one."""
    if is_url(place):
        with (
            tempfile.TemporaryDirectory(prefix="alp-run-") as folder,
            Mirror(Path(folder) / "run", place) as mirror,
        ):
            yield mirror.folder
        return
    try:
        Path(place).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"{place}: expected a writable folder ({error.strerror})") from None
    yield Path(place)


@contextlib.contextmanager
def on_the_cluster() -> Iterator[None]:
    """This process belongs to the cluster that the job runs on, and every node of it has compiled
    the simulator's kernels: else each worker would do so by itself, unseen.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray.init(log_to_driver=False, logging_level="ERROR")
    try:
        nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
        compiling = ray.remote(num_cpus=0)(compile_kernels)
        waiting = [
            compiling.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
            .remote()
            for node in nodes
        ]  # fmt: skip
        done, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=WARM_S)
        if waiting:
            print(
                f"compiling the simulator's kernels on {len(waiting)} of {len(nodes)} nodes (once "
                "for each version, some minutes)", flush=True,
            )  # fmt: skip
        for seconds in ray.get(done + waiting):
            if seconds > WARM_S:
                print(f"kernels compiled in {seconds:.0f} s", flush=True)
        yield
    finally:
        ray.shutdown()


def compile_kernels() -> float:
    """On a node; returns how long it took."""
    from sim.compile import ensure_compiled

    started = time.perf_counter()
    ensure_compiled()
    return time.perf_counter() - started


def command(words: list[str], root: Path) -> list[str]:
    """The command line for a job whose runs lie below ``root``: to begin, or to go on."""
    unfinished = unfinished_run(root) if words[0] == "train" else None
    if unfinished is None:
        return [*words, f"run_root={root}"]
    print(f"going on with {unfinished}", flush=True)
    return ["train", "--resume", str(unfinished), *_overrides(words)]


def _overrides(words: list[str]) -> list[str]:
    """The settings on a command line; those of its config file are in the run already."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    parser.add_argument("overrides", nargs="*")
    return list(parser.parse_args(words[1:]).overrides)


def unfinished_run(root: Path) -> Path | None:
    """The newest training below ``root`` if it stopped before its end and can be opened."""
    from alpamayo.run_dir import RunDir

    for path in sorted(root.glob("*/status.json"), key=lambda p: p.stat().st_mtime, reverse=True):
        with contextlib.suppress(RequestError):  # a run that died while it was made
            run = RunDir.open(path.parent)
            return run.path if run.status["status"] != "finished" else None
    return None

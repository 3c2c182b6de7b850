"""Mutated replays, settings, checkpoints: each is taken or refused in one clear line.

    python -m tests.alpamayo.fuzz --mutations 10000

Half are replays (read, re-simulated, made a page), a quarter settings, a quarter checkpoints
(loaded, asked for a plan). Worker processes try them one after the other; a worker that dies,
takes more than ``LIMIT_S`` of CPU time for a case, or grows by more than ``GROWTH_MB`` is a
finding, as is any exception but the project's own, a message of several lines, and any try to
run a program, open a socket, unpickle or write outside the case's own folder.
"""

from __future__ import annotations

import argparse
import json
import resource
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.alpamayo import fuzz_cases

LIMIT_S = 20.0  # of CPU time
WAIT_S, START_S = 600.0, 1800.0  # of waiting for a case, and for a worker to start
GROWTH_MB = 1024.0
ADDRESS_SPACE_MB = 12_000
KINDS = ("replay", "replay", "settings", "checkpoint")
FORBIDDEN = {
    "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn", "subprocess.Popen",
    "pickle.find_class", "socket.connect", "socket.bind", "ctypes.dlopen", "os.remove", "os.rename",
    "os.rmdir", "shutil.rmtree", "os.chmod",
}  # fmt: skip


# ---- one case ----
class Originals:
    """Sound files below ``folder``, and what is done with a mutated one."""

    def __init__(self, folder: Path) -> None:
        root = Path(fuzz_cases.__file__).resolve().parents[2]
        self.replays = sorted(folder.glob("*.replay"))
        self.settings = [
            (kind, root / "configs" / name)
            for kind, name in (
                ("demo", "demo.yaml"), ("train", "train/cpu.yaml"),
                ("train", "train/longtail.yaml"), ("warmstart", "train/warmstart.yaml"),
                ("eval", "eval/heldout.yaml"),
            )
        ]  # fmt: skip
        self.checkpoint = root / "policies" / "weights" / "tiny"
        self.observation: Any = None

    def mutate(self, number: int, seed: int, folder: Path) -> Callable[[], None]:
        """Write case ``number``; what is to be tried with it."""
        rng = np.random.default_rng([seed, number])
        kind = KINDS[number % len(KINDS)]
        if kind == "replay":
            file = folder / "case.replay"
            original = self.replays[int(rng.integers(len(self.replays)))]
            fuzz_cases.mutate_replay(original, file, rng)
            return lambda: try_replay(file, folder)
        if kind == "settings":
            name, original = self.settings[int(rng.integers(len(self.settings)))]
            file = folder / "case.yaml"
            fuzz_cases.mutate_settings(original, file, rng)
            return lambda: try_settings(name, file)
        fuzz_cases.mutate_checkpoint(self.checkpoint, folder / "case", rng)
        return lambda: try_checkpoint(folder / "case", self.observation)


def try_replay(file: Path, folder: Path) -> None:
    from alpamayo.replay.format import read_replay
    from alpamayo.replay.html import write_html
    from alpamayo.replay.verify import verify

    replay = read_replay(file)
    write_html(folder / "case.html", [replay])
    verify(file)


def try_settings(kind: str, file: Path) -> None:
    from alpamayo.config import load_config

    load_config(kind, str(file))


def try_checkpoint(folder: Path, observation: Any) -> None:
    from policies.registry import load_policy

    policy = load_policy(folder)
    policy.plan(observation, noise_keys=np.zeros(1, dtype=np.uint64))


# ---- a worker ----
def work(folder: Path, first: int, last: int, seed: int) -> None:
    """Tries cases ``first`` up to ``last``; a JSON line before and after each."""
    from alpamayo.types import CheckFailed, RequestError

    originals = Originals(folder)
    originals.observation = _observation()
    own = Path(tempfile.mkdtemp(dir=folder))
    _warm_up(originals, own)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_MB * 2**20,) * 2)
    guard = Guard(own)
    warnings.simplefilter("ignore")
    for number in range(first, last):
        _tell(start=number)
        attempt = originals.mutate(number, seed, own)
        peak, outcome = _peak_mb(), "accepted"
        guard.start()
        # Nobody handles the signal: it ends the process, whatever that is busy with.
        signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
        try:
            attempt()
        except (RequestError, CheckFailed) as error:
            outcome = "refused"
            if "\n" in str(error) or not str(error):
                outcome = f"finding: not one line: {error!r:.300}"
        except Exception:  # what a fuzzer is for
            outcome = f"finding: {traceback.format_exc()[-1800:]}"
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        found = guard.stop()
        if found:
            outcome = f"finding: tried {sorted(found)}"
        if _peak_mb() - peak > GROWTH_MB:
            outcome = f"finding: grew by {_peak_mb() - peak:.0f} MB"
        _tell(done=number, outcome=outcome)


class Guard:
    """Watches what the interpreter is asked to do while it is on (audit hooks cannot be taken
    away)."""

    def __init__(self, own: Path) -> None:
        self._own, self._on, self._found = str(own), False, set[str]()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._on:
            return
        if event in FORBIDDEN and not any(self._own in str(a) for a in arguments):
            self._found.add(event)
        writes = (
            event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        )
        if writes and not str(arguments[0]).startswith(self._own):
            self._found.add(f"open {arguments[0]}")

    def start(self) -> None:
        self._found, self._on = set(), True

    def stop(self) -> set[str]:
        self._on = False
        return self._found


def _observation() -> Any:
    from scenarios.load import load_document
    from scenarios.sample import sample
    from sim.world import WorldBatch

    return WorldBatch([sample(load_document("cut_in"), 1)]).observe()


def _warm_up(originals: Originals, own: Path) -> None:
    """What is loaded late is loaded now: imports run code, which is what is watched for."""
    for replay in originals.replays:
        try_replay(replay, own)
    for kind, file in originals.settings:
        try_settings(kind, file)
    try_checkpoint(originals.checkpoint, originals.observation)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def _tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


# ---- all of them ----
def fuzz(mutations: int, seed: int = 0, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Counts of outcomes by kind, and the findings with the number of their case."""
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in dict.fromkeys(KINDS)}
    findings: list[tuple[int, str]] = []
    slowest = (0.0, -1)

    def note(number: int, outcome: str, took_s: float) -> None:
        nonlocal slowest
        slowest = max(slowest, (took_s, number))
        counts[KINDS[number % len(KINDS)]][outcome.split(":")[0]] += 1
        if outcome.startswith("finding"):
            findings.append((number, outcome))
            say(f"case {number} ({KINDS[number % len(KINDS)]}): {outcome}")

    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        make_originals(Path(folder))
        first = 0
        while first < mutations:
            first = _watch(Path(folder), first, mutations, seed, note)
    return {
        "mutations": mutations,
        "seed": seed,
        "outcomes": {kind: dict(c) for kind, c in counts.items()},
        "slowest_s": round(slowest[0], 2),
        "slowest_case": slowest[1],
        "findings": findings,
    }


def make_originals(folder: Path) -> None:
    """Replays of episodes with events, traffic, signals, weather, a camera and a decode trace."""
    from alpamayo.evaluation.runner import EpisodeLog, run_episodes
    from alpamayo.paths import resolve_policy
    from alpamayo.replay.format import write_replay
    from alpamayo.replay.record import record_episode
    from policies.registry import load_policy
    from scenarios.load import load_document
    from scenarios.sample import sample
    from sim.config import SimConfig

    names = ("hard_lead_brake", "red_light_runner", "bad_weather", "roundabout", "cut_in")
    for name in names:
        traced = name == "cut_in"
        config = SimConfig() if traced else SimConfig(rig=None)
        policy = load_policy(resolve_policy("shipped") if traced else "idle")
        logs: list[EpisodeLog] = []
        scene = sample(load_document(name), 11)
        run_episodes(policy, [scene], config, on_replay=lambda _, log, to=logs: to.append(log))
        replay = record_episode(logs[0], config, policy=name)
        write_replay(folder / f"{name}.replay", replay)


def _watch(
    folder: Path, first: int, last: int, seed: int, note: Callable[[int, str, float], None]
) -> int:
    """Runs one worker until it is through or has to be given up; the case to go on with."""
    command = [sys.executable, "-m", "tests.alpamayo.fuzz", "--work", str(folder)]
    command += [str(first), str(last), "--seed", str(seed)]
    worker = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert worker.stdout is not None and worker.stderr is not None
    at, since, limit_s = first, time.monotonic(), START_S
    with selectors.DefaultSelector() as selector:
        selector.register(worker.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(timeout=max(since + limit_s - time.monotonic(), 0.0)):
                worker.kill()
                worker.wait()
                note(at, f"finding: no answer for {limit_s:.0f} s", limit_s)
                return at + 1
            line = worker.stdout.readline()
            if not line:
                break
            told, now = json.loads(line), time.monotonic()
            if "start" in told:
                at, since, limit_s = told["start"], now, WAIT_S
            else:
                note(told["done"], told["outcome"], now - since)
                at = told["done"] + 1
    code, errors = worker.wait(), worker.stderr.read()
    if code == 0 and at == last:
        return last
    if at == first and limit_s == START_S:
        raise RuntimeError(f"a worker did not start: {errors[-2000:]}")
    died = f"took more than {LIMIT_S:.0f} s" if code == -signal.SIGPROF else f"died with {code}"
    note(at, f"finding: {died}: {errors[-800:]}", 0.0)
    return at + 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="write and try this one here, with its traceback")
    parser.add_argument("--work", nargs=3, metavar=("FOLDER", "FIRST", "LAST"), help="(a worker)")
    args = parser.parse_args()
    if args.work:
        work(Path(args.work[0]), int(args.work[1]), int(args.work[2]), args.seed)
        return 0
    if args.case is not None:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            make_originals(Path(folder))
            originals = Originals(Path(folder))
            originals.observation = _observation()
            originals.mutate(args.case, args.seed, Path(folder))()
        return 0
    told = fuzz(args.mutations, args.seed)
    print(json.dumps({k: v for k, v in told.items() if k != "findings"}, indent=1))
    print(f"{len(told['findings'])} findings")
    return 1 if told["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())

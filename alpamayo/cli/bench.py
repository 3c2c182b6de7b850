"""``alpamayo bench``: measure speed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HELP = "Measure the speed of the simulator, of the policy, and whether it drives in real time."
EPILOG = """\
sim     steps per CPU-second of one core with state and camera observations, against targets and
        (if installed) highway-env; reset, import, memory; how cost grows with worlds, agents, maps
policy  for a network every way of decoding on the same weights in one run: forwards and tokens
        per forward, time of vision, prefill, rounds and plan, distance to the machine's floor,
        memory; a learning step. For other policies the time of a batch and of one observation
loop    decisions/s of observe + plan + step, and the share of each
realtime  a 100 Hz controller beside a planner that may stall, raise or answer nonsense
          (--faults): punctuality of every tick, deadlines, stops
"""
SIM_S, OTHER_S = 2.0, 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.add_argument(
        "what", choices=("sim", "policy", "loop", "realtime"), help="what to measure, see below"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings, such as sim.ego_model=dynamic"
    )
    parser.add_argument(
        "--policy",
        default="shipped",
        metavar="PATH|NAME",
        help="policy, loop: checkpoint, expert, idle (default: shipped)",
    )
    parser.add_argument(
        "--suite",
        default="heldout",
        metavar="NAME",
        help="policy, loop: scenarios to drive (default: heldout)",
    )
    parser.add_argument(
        "--worlds", type=int, default=64, metavar="N", help="worlds stepped together (default: 64)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help=f"time to measure (default: {OTHER_S:g}; sim: CPU time of a case in each of three "
        f"rounds, default {SIM_S:g})",
    )
    parser.add_argument("--map", metavar="FILE", help="sim: the OpenDRIVE map to compare with")
    parser.add_argument("--quick", action="store_true", help="sim: see that it works; no verdicts")
    parser.add_argument("--plot", metavar="FILE.svg", help="sim: draw how cost grows")
    add = parser.add_argument_group("policy").add_argument
    add("--size", metavar="NAME", help="a network of that size instead of --policy, such as nld-3b")
    add("--random-weights", action="store_true", help="needed with --size: nothing is loaded")
    add("--batch", default="1,8,64", metavar="N,N", help="batch sizes (default: 1,8,64)")
    add("--rounds", default="1,2,4,8", metavar="K,K", help="of diffusion (default: 1,2,4,8)")
    add("--images", metavar="NxWxH", help="policy, realtime: invented images, such as 3x448x252")
    add("--device", default="cpu", help="with --size: cpu or cuda (default: cpu)")
    add(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="with --size: of the weights (default: float32)",
    )
    add = parser.add_argument_group("realtime").add_argument
    add("--planner-hz", type=float, default=10.0, metavar="HZ", help="planning cycles (default 10)")
    add("--deadline-ms", type=float, metavar="MS", help="of a cycle (default: its length)")
    add("--faults", action="store_true", help="inject stalls, exceptions, NaN and wild plans")
    add(
        "--controller",
        choices=("process", "thread"),
        default="process",
        help="where the controller runs (default: process)",
    )
    add(
        "--no-priority",
        action="store_true",
        help="do not ask the operating system to prefer the controller",
    )
    parser.add_argument(
        "--latency-profile",
        metavar="OUT.json",
        help="policy, realtime: write the latencies, for `alpamayo eval --latency-profile`",
    )
    parser.add_argument("--out", metavar="FILE", help="write the JSON document here as well")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    from alpamayo.types import RequestError

    if args.worlds < 1:
        raise RequestError(f"--worlds {args.worlds}: expected a number >= 1")
    seconds = args.seconds
    if seconds is None:
        seconds = SIM_S if args.what == "sim" else OTHER_S
    if not 0 < seconds < 1e6:
        raise RequestError(f"--seconds {seconds:g}: expected a number > 0")
    from alpamayo import bench
    from alpamayo.config import load_config

    config = load_config("eval", None, args.overrides)
    if args.latency_profile and args.what not in ("policy", "realtime"):
        raise RequestError("--latency-profile: expected with `bench policy` or `bench realtime`")
    document: dict[str, Any] = {"bench": args.what}
    if args.what == "sim":
        document["quick"] = args.quick
        document["result"] = _simulator(args, seconds, config.sim)
    else:
        document |= {"suite": args.suite, "worlds": args.worlds, "policy": args.policy}
        document["result"] = _drive(args, seconds, config)
    document["machine"] = bench.machine()
    if args.out:
        _write(Path(args.out), document)
    if args.json:
        print(json.dumps(document))
    else:
        from alpamayo.cli.bench_tables import show

        show(document)
    return 0


def _drive(args: argparse.Namespace, seconds: float, config: Any) -> dict[str, Any]:
    from alpamayo import bench
    from alpamayo.types import RequestError

    if args.what == "policy" and args.size is not None:
        return _network(args, _sized(args, config), seconds, config)
    if args.size is not None or args.random_weights:
        raise RequestError("--size, --random-weights: expected together, with `bench policy`")
    policy = _policy(args.policy, config)
    if args.what == "realtime":
        return _realtime(args, policy, seconds, config)
    if args.what == "policy" and hasattr(policy, "model"):
        return _network(args, policy.model, seconds, config)
    measure = bench.bench_policy if args.what == "policy" else bench.bench_loop
    return measure(policy, args.suite, args.worlds, seconds, config.sim)


def _sized(args: argparse.Namespace, config: Any) -> Any:
    """A network of ``--size`` with random weights, for plans as long as the config says."""
    from alpamayo.types import RequestError
    from policies.vlm.config import VLMConfig

    if not args.random_weights:
        raise RequestError("--size: expected --random-weights with it; --policy loads weights")
    try:
        size = VLMConfig.preset(args.size)
    except ValueError as error:
        raise RequestError(f"--size: {error}") from None
    from policies.vlm.int8 import to_int8
    from policies.vlm.policy import usable_device
    from policies.vlm.speed import DTYPES, random_model

    sim = config.sim
    model = random_model(
        size.with_plan(sim.plan_steps, sim.plan_step_s),
        usable_device(args.device),
        DTYPES[args.dtype],
    )
    return to_int8(model) if config.policy.weights == "int8" else model


def _network(args: argparse.Namespace, model: Any, seconds: float, config: Any) -> dict[str, Any]:
    from alpamayo.bench_policy import Images, PolicyBench, bench_network
    from alpamayo.config import decode_options
    from policies.vlm.schedule import DecodeConfig

    request = PolicyBench(
        batches=_numbers("--batch", args.batch),
        rounds=_numbers("--rounds", args.rounds),
        seconds=seconds,
        images=None if args.images is None else Images.parse(args.images),
        learn=args.size is None and config.policy.weights == "full",
    )
    decode = DecodeConfig(**decode_options(config.policy.decode, config.sim))
    result, latencies_s = bench_network(model, request, args.suite, config.sim, decode)
    if args.latency_profile:
        _write_profile(args, latencies_s)
    return result


def _numbers(option: str, text: str) -> tuple[int, ...]:
    from alpamayo.types import RequestError

    parts = text.split(",")
    if not all(part.strip().isdigit() and 0 < int(part) <= 4096 for part in parts):
        raise RequestError(f"{option} {text}: expected numbers of 1 to 4096, such as 1,8")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _realtime(args: argparse.Namespace, policy: Any, seconds: float, config: Any) -> dict[str, Any]:
    from alpamayo.bench_policy import Images
    from alpamayo.bench_realtime import Faults, bench_realtime
    from alpamayo.types import RequestError
    from policies.plan_keeper import RealtimeConfig

    if policy.needs_privileged:
        raise RequestError(f"--policy {args.policy}: expected one that drives by observations")
    if not 0.0 < args.planner_hz < 1e4:
        raise RequestError(f"--planner-hz {args.planner_hz:g}: expected a number > 0")
    deadline_ms = 1e3 / args.planner_hz if args.deadline_ms is None else args.deadline_ms
    sim = config.sim
    realtime = RealtimeConfig(
        planner_hz=args.planner_hz,
        deadline_s=deadline_ms / 1e3,
        latency_s=sim.latency_s,
        max_accel_mps2=sim.max_accel_mps2,
        max_brake_mps2=sim.max_brake_mps2,
        max_curvature_per_m=sim.max_curvature_per_m,
    )
    result, record = bench_realtime(
        policy,
        args.suite,
        seconds,
        sim,
        realtime,
        faults=Faults() if args.faults else None,
        controller=args.controller,
        priority=not args.no_priority,
        images=None if args.images is None else Images.parse(args.images),
    )
    if args.latency_profile:
        _write_profile(args, record.latency_s().tolist())
    return result


def _write_profile(args: argparse.Namespace, samples_s: list[float]) -> None:
    from alpamayo.bench import machine
    from alpamayo.latency_profile import write_profile

    about = {"bench": args.what, "policy": args.policy, "settings": args.overrides}
    write_profile(args.latency_profile, samples_s, {**about, "machine": machine()})


def _simulator(args: argparse.Namespace, seconds: float, config: Any) -> dict[str, Any]:
    from alpamayo.bench_cases import find_map
    from alpamayo.bench_plot import check_plot_file, plot_sweeps
    from alpamayo.bench_sim import QUICK, bench_sim, full_scale

    plot = None if args.plot is None else check_plot_file(Path(args.plot))
    scale = QUICK if args.quick else full_scale(args.worlds, seconds)
    result = bench_sim(config, scale, find_map(args.map))
    if plot is not None:
        plot_sweeps(result, plot)
    return result


def _policy(spec: str, config: Any) -> Any:
    from alpamayo.config import policy_options
    from alpamayo.paths import resolve_policy
    from policies.registry import is_network, load_policy

    spec = resolve_policy(spec)
    options = policy_options(config.policy, config.sim) if is_network(spec) else {}
    return load_policy(spec, **options)


def _write(file: Path, document: Mapping[str, Any]) -> None:
    from alpamayo.types import RequestError

    try:
        file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise RequestError(f"--out {file}: expected a writable file ({error.strerror})") from None

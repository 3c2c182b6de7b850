"""Latency profiles of the 8B policy for `alpamayo eval --latency-profile`, from what was measured
on one H200 (docs/results.md, "The policy at full size, on one GPU").

.venv/bin/python benchmarks/latency_profiles.py configs/latency

``h200_*``: the measured median and 99th percentile of whole plans, 98 and 2 of 100 samples.
``in_car_*``: **derived, not measured**, for a computer of 273 GB/s and 250 TFLOP/s (bf16) with the
same software: images and prefill are bound by arithmetic and grow with the ratio of the matrix
rates, rounds and single-token forwards are bound by memory and grow with the ratio of copy rates.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from alpamayo.latency_profile import write_profile

# Milliseconds (p50, p99) from pixels to plan, measured.
MEASURED = {
    "diffusion_1": (21.4, 23.5),
    "diffusion_2": (26.0, 27.0),
    "diffusion_4": (35.2, 35.8),
    "diffusion_8": (53.8, 54.2),
    "ar": (149.2, 149.5),
}
IMAGES_AND_PREFILL_MS = 3.76 + 13.26


@dataclass(frozen=True)
class Device:
    copy_gbps: float
    matmul_tflops: float


H200 = Device(copy_gbps=4250.0, matmul_tflops=818.0)
IN_CAR = Device(copy_gbps=273.0, matmul_tflops=250.0)


def scaled_ms(measured_ms: float, device: Device) -> float:
    """A plan's time on ``device``, from its time on the H200."""
    by_memory = (measured_ms - IMAGES_AND_PREFILL_MS) * H200.copy_gbps / device.copy_gbps
    return by_memory + IMAGES_AND_PREFILL_MS * H200.matmul_tflops / device.matmul_tflops


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, (p50_ms, p99_ms) in MEASURED.items():
        about = {"policy": "nld-vlm-8b, 3 cameras 448 x 252, 32 action tokens", "decode": name}
        for place, device in (("h200", H200), ("in_car", IN_CAR)):
            samples_s = [scaled_ms(ms, device) / 1000 for ms in [p50_ms] * 98 + [p99_ms] * 2]
            measured = place == "h200"
            told = "p50 and p99 measured" if measured else f"derived from the H200's: {device}"
            write_profile(folder / f"{place}_{name}.json", samples_s, {**about, "source": told})
            print(f"{place:7} {name:12} {1000 * samples_s[0]:7.1f} ms")


if __name__ == "__main__":
    main()

"""Stored evidence that a danger is one, and can be driven: ``scenarios/proofs/<id>.json``.

``alpamayo scenario prove`` makes it. A proof belongs to one meaning of the danger and of its twin
(their hashes); it keeps what became of every draw, so that any part of it can be driven again and
compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from alpamayo.types import RequestError

PROOFS = Path(__file__).resolve().parent / "proofs"
FIRST_SEED = 40_000_000  # of no suite
LEAST_DRAWS = 32

# The drives of a proof, and the least share of draws that must go as they should.
DRIVES: dict[str, str] = {
    "keeper": "whoever keeps its lane and speed fails",
    "expert": "the privileged expert gets through and gets ahead",
    "twin_expert": "the expert drives the nominal twin",
    "twin_keeper": "keeping lane and speed is uneventful in the nominal twin",
}
LEAST: dict[str, float] = {"keeper": 0.8, "expert": 0.9, "twin_expert": 0.95, "twin_keeper": 0.95}
# What became of a draw, one letter each.
FINE, SLOW, OWN_CRASH, OTHERS_CRASH, OFF_ROAD, RED_LIGHT, FAILED = ".SCcORF"
HARM = (OWN_CRASH, OTHERS_CRASH, OFF_ROAD, RED_LIGHT)


@dataclass(frozen=True)
class Proof:
    """What the drives of one danger and its twin gave.

    ``outcomes``: drive -> one letter per draw, of seeds ``first_seed`` onwards. ``simulator``:
    digest of the sources that drove.
    """

    scenario: str
    twin: str
    hash: str
    twin_hash: str
    collision_course: bool
    keeping_is_safe: bool
    first_seed: int
    draws: int
    outcomes: dict[str, str]
    simulator: str
    cpu_s: float

    def good(self, drive: str) -> int:
        """Draws of a drive that went as they should."""
        letters = self.outcomes[drive]
        if drive == "keeper":
            return sum(letter in HARM for letter in letters)
        if drive == "twin_keeper":  # its progress is not its merit
            return sum(letter in (FINE, SLOW) for letter in letters)
        return letters.count(FINE)

    def share(self, drive: str) -> float:
        return self.good(drive) / max(len(self.outcomes[drive]), 1)

    @property
    def required(self) -> tuple[str, ...]:
        """The drives that this danger must pass."""
        drives = ["expert", "twin_expert"] if self.twin else ["expert"]
        if self.collision_course:
            drives.insert(0, "keeper")
        if self.twin and self.keeping_is_safe:
            drives.append("twin_keeper")
        return tuple(drives)

    @property
    def shortfalls(self) -> list[str]:
        """Why this is no proof; empty if it is one."""
        told = []
        if self.draws < LEAST_DRAWS:
            told.append(f"expected at least {LEAST_DRAWS} draws, got {self.draws}")
        for drive in self.required:
            if self.share(drive) < LEAST[drive] - 1e-9:
                told.append(
                    f"{DRIVES[drive]}: {self.good(drive)} of {self.draws} draws, "
                    f"expected {LEAST[drive]:.0%}"
                )
        failed = sum(letters.count(FAILED) for letters in self.outcomes.values())
        if failed:
            told.append(f"{failed} drives could not be simulated")
        return told


def proof_path(name: str) -> Path:
    return PROOFS / f"{name}.json"


def load_proof(name: str) -> Proof | None:
    """The stored proof of a library danger; raises RequestError if its file is broken."""
    path = proof_path(name)
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        told.pop("rates", None)  # for readers; they follow from the outcomes
        return Proof(**told)
    except (ValueError, TypeError) as error:
        raise RequestError(
            f"{path}: expected a proof; run alpamayo scenario prove: {error}"
        ) from None


def save_proof(proof: Proof, interval: Callable[[int, int], tuple[float, float, float]]) -> Path:
    """Write the proof with its rates (``interval``: (good, draws) -> share, low, high)."""
    told = asdict(proof)
    told["rates"] = {
        drive: dict(
            zip(
                ("share", "low", "high"),
                (round(x, 4) for x in interval(proof.good(drive), proof.draws)),
                strict=True,
            )
        )
        for drive in proof.outcomes
    }
    PROOFS.mkdir(exist_ok=True)
    path = proof_path(proof.scenario)
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return path

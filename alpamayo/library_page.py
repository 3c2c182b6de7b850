"""``docs/scenarios.md``: every family of the library with its picture, scenarios and proof figures.

The text follows from the library and its stored proofs alone; pictures are drawn where they are
missing or asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alpamayo.stats import wilson_interval
from alpamayo.types import RequestError
from scenarios.catalog import list_documents, twin_id
from scenarios.families import FAMILIES, NOMINAL_TWINS, Family, family_of
from scenarios.proofs import FINE, FIRST_SEED, SLOW, Proof, load_proof
from scenarios.schema import Distribution, ScenarioDocument

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = "scenarios.md"
PICTURES = "images/scenarios"
PANELS, PANEL_PX, PX_PER_M, GAP_PX, JPEG_QUALITY = 4, 190, 3.4, 4, 82

HEAD = """\
# Scenarios

<!-- Written by `alpamayo scenario prove --docs`; edit the scenario files instead. -->

The library poses the 46 families of long-tail situations below. Each danger has a **nominal twin**,
the same scene without the danger, and a **proof**: over at least 32 seeds that no suite uses,
*keeper* is the share of draws in which whoever keeps its lane and speed crashes, leaves the road or
runs a red light; *expert* the share that the privileged expert drives without any crash (whoever's
fault) and with sensible progress; *twin* the share of the nominal twin's draws that the expert, and
whoever keeps lane and speed, drives uneventfully. Brackets hold the 95 % interval (Wilson). A
keeper's share in parentheses belongs to a danger that is not a collision course. `alpamayo scenario
prove --check` drives the proofs again; `scenarios/proofs/` holds the outcome of every draw.

Sources: N = NHTSA pre-crash types (DOT HS 810 767), B = CARLA Leaderboard 2 / Bench2Drive, E = Euro
NCAP 2023/2026, R = UN R157 Annex 5, W = WOD-E2E clusters, I = interPlan, F = Fail2Drive, BR =
Bench2Drive-Robust.

Pictures: top view, ego in blue driving up. The first three panels show whoever keeps lane and
speed, at the start, on the way and at the end; the last one the expert at that last moment.
"""


def page() -> str:
    """The text of the page."""
    dangers = [d for d in list_documents() if not d.nominal]
    by_family: dict[str, list[ScenarioDocument]] = {}
    for document in dangers:
        family = family_of(document.family)
        by_family.setdefault(family.id if family else document.family, []).append(document)
    proofs = {d.id: p for d in dangers if (p := load_proof(d.id)) is not None}
    parts = [HEAD, *_table(by_family, proofs)]
    for family in FAMILIES:
        if family.id in by_family:
            parts += _section(family, by_family[family.id], proofs)
    parts += _ordinary()
    return "\n".join(parts) + "\n"


def write_docs(docs: Path = DOCS, redraw: Iterable[str] = ()) -> list[Path]:
    """Write the page, and the pictures that are missing or of families in ``redraw``."""
    if not docs.is_dir():
        raise RequestError(f"{docs}: no such folder; the page is written in a checkout only")
    written = []
    (docs / PICTURES).mkdir(parents=True, exist_ok=True)
    for family, document in _pictured().items():
        path = docs / PICTURES / f"{family}.jpg"
        if family in redraw or not path.is_file():
            path.write_bytes(picture(document))
            written.append(path)
    (docs / PAGE).write_text(page(), encoding="utf-8")
    return [*written, docs / PAGE]


def _pictured() -> dict[str, ScenarioDocument]:
    """Family -> its first scenario, which stands for it."""
    found: dict[str, ScenarioDocument] = {}
    for document in list_documents():
        family = family_of(document.family)
        if family and not document.nominal:
            found.setdefault(family.id, document)
    return found


# --------------------------------------------------------------------------------------
# Text
# --------------------------------------------------------------------------------------
def _table(by_family: dict[str, list[ScenarioDocument]], proofs: dict[str, Proof]) -> list[str]:
    lines = [
        "| # | family | scenarios | draws | keeper | expert | twin |",
        "|---|---|---|---|---|---|---|",
    ]
    for family in FAMILIES:
        own = by_family.get(family.id, [])
        proven = [proofs[d.id] for d in own if d.id in proofs]
        if family.id == NOMINAL_TWINS:
            every = [p for p in proofs.values() if p.twin]
            draws, twins = sum(p.draws for p in every), _pooled_twin(every)
            lines.append(
                f"| {family.number} | {family.title} | {len(every)} | {draws} | | | {twins} |"
            )
        elif not proven:
            lines.append(f"| {family.number} | {family.title} | {len(own)} | | | | |")
        else:
            keeper = _pooled(proven, "keeper")
            if not all(p.collision_course for p in proven):
                keeper = f"({keeper})"
            link = f"[{family.title}](#{family.number}-{_anchor(family.id)})"
            lines.append(
                f"| {family.number} | {link} | {len(own)} | {sum(p.draws for p in proven)} | "
                f"{keeper} | {_pooled(proven, 'expert')} | {_pooled_twin(proven)} |"
            )
    return [*lines, ""]


def _anchor(text: str) -> str:
    return text.replace(" ", "-")


def _share(good: int, draws: int) -> str:
    if not draws:
        return ""
    told = wilson_interval(good, draws)
    return f"{told.value:.0%} [{100 * told.low:.0f}, {100 * told.high:.0f}]"


def _pooled(proofs: list[Proof], drive: str) -> str:
    return _share(sum(p.good(drive) for p in proofs), sum(p.draws for p in proofs))


def _pooled_twin(proofs: list[Proof]) -> str:
    """Draws of the twins that went well in every drive that must."""
    return _share(sum(_twin_good(p) for p in proofs), sum(p.draws for p in proofs if p.twin))


def _twin_good(proof: Proof) -> int:
    if not proof.twin:
        return 0
    keeps = proof.outcomes["twin_keeper"]
    return sum(
        letter == FINE and (not proof.keeping_is_safe or kept in (FINE, SLOW))
        for letter, kept in zip(proof.outcomes["twin_expert"], keeps, strict=True)
    )


def _section(
    family: Family, documents: list[ScenarioDocument], proofs: dict[str, Proof]
) -> list[str]:
    lines = [
        f"## {family.number} {family.id}",
        "",
        f"{family.title[0].upper()}{family.title[1:]}. Sources: {family.sources}.",
        "",
        f"![{family.id}]({PICTURES}/{family.id}.jpg)",
        "",
    ]
    for document in documents:
        lines += _scenario(document, proofs.get(document.id))
    return lines


def _scenario(document: ScenarioDocument, proof: Proof | None) -> list[str]:
    lines = [f"**{document.id}**, severity {document.severity}. {document.description}", ""]
    if document.sources:
        lines.append(f"- sources: {'; '.join(document.sources)}")
    lines.append(f"- tags: {', '.join(document.tags) or 'none'}")
    lines.append(f"- road: {document.road.kind}; draws: {_drawn(document)}")
    if proof is None:
        lines.append("- no proof yet")
    else:
        keeper = _share(proof.good("keeper"), proof.draws)
        if not proof.collision_course:
            keeper = f"({keeper})"
        twin = f", twin {_share(_twin_good(proof), proof.draws)}" if proof.twin else ""
        expert = _share(proof.good("expert"), proof.draws)
        lines.append(f"- proof, {proof.draws} draws: keeper {keeper}, expert {expert}{twin}")
    twin_name = twin_id(document.id)
    if twin_name:
        told = next(d.description for d in list_documents() if d.id == twin_name)
        lines.append(f"- twin **{twin_name}**: {told}")
    return [*lines, ""]


def _drawn(document: ScenarioDocument) -> str:
    """The parameters that are drawn."""
    told = []
    for name, spec in document.parameters.items():
        if isinstance(spec, Distribution) and spec.select is None:
            told.append(f"`{name}` {_distribution(spec)}")
    return ", ".join(told) or "nothing"


def _distribution(spec: Distribution) -> str:
    if spec.uniform is not None:
        low, high = spec.uniform
        return f"{low} to {high}"
    if spec.normal is not None:
        return f"around {spec.normal.mean} (std {spec.normal.std})"
    if spec.choice is not None:
        return "of " + "/".join(str(v) for v in dict.fromkeys(spec.choice))
    (kind, value), *_ = spec.model_dump(exclude_none=True).items()
    return f"{kind} {value}"


def _ordinary() -> list[str]:
    """What is nominal and nobody's twin."""
    documents = list_documents()
    twins = {twin_id(d.id) for d in documents if not d.nominal}
    lines = ["## Ordinary driving", "", "| scenario | description | tags |", "|---|---|---|"]
    for document in documents:
        if document.nominal and document.id not in twins:
            tags = ", ".join(document.tags)
            lines.append(f"| {document.id} | {document.description} | {tags} |")
    return lines


# --------------------------------------------------------------------------------------
# Pictures
# --------------------------------------------------------------------------------------
def picture(document: ScenarioDocument, seed: int = FIRST_SEED) -> bytes:
    """A strip of top views as JPEG."""
    import cv2
    import numpy as np

    kept, expert = _recorded(document, seed, "constant_speed"), _recorded(document, seed, "expert")
    end_s = float(kept.columns["ego"][-1, 4])
    shown = [(kept, 0.0), (kept, 0.6 * end_s), (kept, end_s), (expert, end_s)]
    step = PANEL_PX + GAP_PX
    strip = np.full((PANEL_PX, PANELS * step - GAP_PX, 3), 255, np.uint8)
    for n, (replay, time_s) in enumerate(shown):
        strip[:, n * step : n * step + PANEL_PX] = _panel(replay, time_s, n == PANELS - 1)
    bgr = np.ascontiguousarray(strip[..., ::-1])
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise RuntimeError("the picture could not be encoded as JPEG")
    return data.tobytes()


def _recorded(document: ScenarioDocument, seed: int, policy: str) -> Any:
    from alpamayo.evaluation.runner import EpisodeLog, run_episodes
    from alpamayo.replay.record import record_episode
    from policies.registry import load_policy
    from scenarios.sample import sample
    from sim.config import SimConfig

    logs: list[EpisodeLog] = []
    config = SimConfig(rig=None)
    results = run_episodes(
        load_policy(policy), [sample(document, seed)], config,
        on_replay=lambda _, log: logs.append(log),
    )  # fmt: skip
    if not logs:
        raise RequestError(f"{document.id} seed {seed}: cannot be simulated: {results[0].error}")
    return record_episode(logs[0], config, policy=policy)


def _panel(replay: Any, time_s: float, expert: bool) -> Any:
    import cv2

    from alpamayo.replay.topdown import TopDown

    times = replay.columns["ego"][:, 4]
    at_s = min(time_s, float(times[-1]))
    image = TopDown(replay, PANEL_PX, PX_PER_M).draw(at_s)
    label = f"{at_s:.1f} s" + (" expert" if expert else "")
    cv2.putText(image, label, (5, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (20, 24, 32), 1, cv2.LINE_AA)
    return image

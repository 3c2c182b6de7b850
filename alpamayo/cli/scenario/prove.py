"""``alpamayo scenario prove``: drive dangers and their twins to show that they are honest."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from alpamayo.cli.scenario.common import new_console, new_table, print_json
from alpamayo.types import CheckFailed, RequestError
from scenarios.proofs import DRIVES, LEAST_DRAWS

if TYPE_CHECKING:
    from scenarios.proofs import Proof
    from scenarios.schema import ScenarioDocument

HELP = "drive dangers and their twins to show that they are honest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "ids", nargs="*", metavar="ID", help="danger, family or file (default: the library)"
    )
    parser.add_argument(
        "--draws", type=int, default=LEAST_DRAWS, help=f"seeds to drive (default {LEAST_DRAWS})"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="compare the stored proofs with the scenarios; store nothing",
    )
    parser.add_argument(
        "--sample",
        type=int,
        metavar="N",
        help="with --check: drive N draws of each again (default: all)",
    )
    parser.add_argument(
        "--docs", action="store_true", help="write docs/scenarios.md and its pictures too"
    )


def run(args: argparse.Namespace) -> int:
    if not 1 <= args.draws <= 10_000:
        raise RequestError(f"command line: --draws: expected 1 to 10000, got {args.draws}")
    if args.sample is not None and (not args.check or args.sample < 0):
        raise RequestError("command line: --sample: expected a number of at least 0, with --check")
    dangers = _chosen(args.ids)
    done = 0 if args.check else _prove(args, dangers)
    if args.docs:
        from alpamayo.library_page import write_docs
        from scenarios.families import family_of

        write_docs(redraw={f.id for d in dangers if args.ids and (f := family_of(d.family))})
    return _check(args, dangers) if args.check else done


def _chosen(names: list[str]) -> list[ScenarioDocument]:
    from scenarios.catalog import list_documents
    from scenarios.families import family_of
    from scenarios.load import load_document

    library = [d for d in list_documents() if not d.nominal]
    if not names:
        return library
    chosen: list[ScenarioDocument] = []
    for name in names:
        of_family = [d for d in library if (f := family_of(d.family)) and name == f.id]
        documents = of_family or [load_document(name)]
        for document in documents:
            if document.nominal:
                raise RequestError(
                    f"{name}: expected a danger; a nominal scene is proven with its danger"
                )
        chosen += documents
    return list({document.id: document for document in chosen}.values())


def _twin(document: ScenarioDocument) -> ScenarioDocument | None:
    """The nominal twin: of the library, or the file beside a file of one's own."""
    from scenarios.catalog import NOMINAL_SUFFIX, twin_id
    from scenarios.load import load_document

    if _is_stored(document):
        name = twin_id(document.id)
        return load_document(name) if name else None
    own = Path(document.tree.file)
    beside = own.with_name(f"{own.stem}{NOMINAL_SUFFIX}{own.suffix}")
    return load_document(beside) if beside.is_file() else None


def _is_stored(document: ScenarioDocument) -> bool:
    from scenarios.catalog import library_files

    file = library_files().get(document.id)
    return file is not None and file == Path(document.tree.file).resolve()


def _prove(args: argparse.Namespace, dangers: list[ScenarioDocument]) -> int:
    from alpamayo.evaluation.proving import prove, store

    proofs, stored = [], 0
    for document in dangers:
        proof = prove(document, _twin(document), args.draws)
        proofs.append(proof)
        if _is_stored(document) and proof.twin and not proof.shortfalls:
            store(proof)
            stored += 1
    if args.json:
        print_json([{**asdict(p), "shortfalls": p.shortfalls} for p in proofs])
    else:
        _print(proofs, stored)
    return 1 if any(p.shortfalls for p in proofs) else 0


def _print(proofs: list[Proof], stored: int) -> None:
    console = new_console()
    table = new_table(f"{len(proofs)} dangers", "id", "draws", *DRIVES, "CPU s", "shortfalls")
    for p in proofs:
        shares = [_share(p, drive) for drive in DRIVES]
        table.add_row(p.scenario, str(p.draws), *shares, f"{p.cpu_s:.1f}", "; ".join(p.shortfalls))
    console.print(table)
    for drive, told in DRIVES.items():
        console.print(f"{drive}: {told}", markup=False, style="dim")
    seconds = sum(p.cpu_s for p in proofs)
    proven = sum(not p.shortfalls for p in proofs)
    print(f"{proven} of {len(proofs)} proven in {seconds:.0f} CPU seconds; {stored} stored")


def _share(proof: Proof, drive: str) -> str:
    if drive not in proof.outcomes:
        return "-"
    shown = f"{proof.share(drive):.0%}"
    return shown if drive in proof.required else f"({shown})"


def _check(args: argparse.Namespace, dangers: list[ScenarioDocument]) -> int:
    from alpamayo.evaluation.proving import differences, sources_digest
    from scenarios.hash import document_hash
    from scenarios.proofs import load_proof

    problems: list[str] = []
    other_sources = 0
    for document in dangers:
        proof, twin = load_proof(document.id), _twin(document)
        if proof is None:
            problems.append(f"{document.id}: has no proof")
            continue
        now = (document_hash(document), document_hash(twin) if twin else "")
        if now != (proof.hash, proof.twin_hash):
            problems.append(f"{document.id}: has changed since it was proven")
            continue
        other_sources += proof.simulator != sources_digest()
        problems += [f"{document.id}: {told}" for told in proof.shortfalls]
        picks = picked(document.id, proof.draws, args.sample)
        if picks:
            problems += [f"{document.id}: {t}" for t in differences(proof, document, twin, picks)]
    if args.json:
        print_json({"dangers": len(dangers), "problems": problems, "other_sources": other_sources})
    else:
        for problem in problems:
            print(problem)
        print(
            f"{len(dangers)} dangers, {len(problems)} problems; "
            f"{other_sources} proven by other sources of the simulator"
        )
    if problems:
        raise CheckFailed("the stored proofs do not hold; run alpamayo scenario prove")
    return 0


def picked(name: str, draws: int, count: int | None) -> list[int]:
    """``count`` draws of a proof, spread evenly from a start that differs from danger to danger;
    all if None.
    """
    if count is None or count >= draws:
        return list(range(draws))
    start = sum(name.encode()) % draws
    return sorted({(start + k * draws // count) % draws for k in range(count)})

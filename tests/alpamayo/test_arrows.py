"""Imports point one way, see CONTRIBUTING.md. Read from the source: lazy imports count too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from alpamayo.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("alpamayo", "sim", "policies", "scenarios")
VOCABULARY = (
    "alpamayo.types",
    "alpamayo.streams",
)  # what sim, policies and scenarios may use of the platform

COMMAND_MODULES = ("alpamayo.cli.main", *(f"alpamayo.cli.{name}" for name in COMMANDS))


def modules() -> dict[str, Path]:
    """Module name -> file, of all four packages."""
    files = [p for package in PACKAGES for p in sorted((ROOT / package).rglob("*.py"))]
    names = {p: ".".join(p.relative_to(ROOT).with_suffix("").parts) for p in files}
    return {name.removesuffix(".__init__"): p for p, name in names.items()}


def imports(module: str, source: str, is_package: bool) -> Iterator[tuple[str, bool]]:
    """(full module or module.name, at import time) of every import; names under TYPE_CHECKING are
    left out.
    """
    tree = ast.parse(source)
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    lazy = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) not in lazy
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, base] if base else parts)
            for alias in node.names:
                yield f"{base}.{alias.name}", id(node) not in lazy


def within(name: str, *places: str) -> bool:
    return any(name == place or name.startswith(place + ".") for place in places)


def complaint(module: str, target: str, at_import: bool) -> str | None:
    """Why ``module`` must not import ``target``; None if it may."""
    package = module.split(".")[0]
    if within(target, "alpamayo.cli") and not within(module, "alpamayo.cli", "alpamayo.__main__"):
        return "nothing imports the command line"
    if package != "alpamayo" and within(target, "alpamayo") and not within(target, *VOCABULARY):
        return "only the vocabulary of the platform is open to the rooms below it"
    if (
        within(module, *VOCABULARY)
        and within(target, *PACKAGES)
        and not within(target, *VOCABULARY)
    ):
        return "the vocabulary stands at the bottom"
    if package == "sim" and within(target, "policies"):
        return "sim reads scenarios, never policies"
    if package == "policies" and within(target, "sim", "scenarios"):
        return "policies know observations and plans, no simulator and no scenarios"
    if package == "scenarios" and within(target, "sim", "policies"):
        return "scenarios know only the vocabulary"
    ray_rooms = ("alpamayo.rollout", "alpamayo.learner", "alpamayo.loop", "alpamayo.cluster")
    if within(target, "ray") and not within(module, *ray_rooms):
        return "only rollout/ learner/ loop.py cluster/ know Ray"
    # rollout.transport carries weights, which are tensors.
    torch_rooms = (
        "policies.vlm",
        "alpamayo.learner",
        "alpamayo.imitation",
        "alpamayo.rollout.transport",
    )
    if within(target, "torch") and not within(module, *torch_rooms):
        return "only policies/vlm and what learns know torch"
    heavy = ("numpy", "cv2", "omegaconf", "rich", "sim")
    if module in COMMAND_MODULES and at_import and within(target, *heavy):
        return "heavy imports of a command stand inside functions, --help must be fast"
    return None


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_follow_the_arrows(module: str) -> None:
    file = modules()[module]
    wrong = [
        f"{module} imports {target}: {why}"
        for target, at_import in imports(module, file.read_text(), file.name == "__init__.py")
        if (why := complaint(module, target, at_import))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("sim.world", "alpamayo.config"),
        ("sim.world", "policies.idle"),
        ("policies.vlm.model", "sim.world"),
        ("scenarios.load", "sim.roads"),
        ("alpamayo.types", "sim.config"),
        ("alpamayo.loop", "alpamayo.cli.main"),
        ("alpamayo.evaluation.runner", "ray"),
        ("policies.registry", "torch"),
        ("sim.env", "torch.nn"),
        ("alpamayo.cli.eval", "numpy"),
    ],
)
def test_the_guard_sees_wrong_arrows(module: str, target: str) -> None:
    assert complaint(module, target, True)


def test_the_guard_resolves_relative_and_lazy_imports() -> None:
    source = "from . import a\nfrom ..b import c\ndef f():\n    import ray\n"
    assert list(imports("p.q.m", source, False)) == [
        ("p.q.a", True),
        ("p.b.c", True),
        ("ray", False),
    ]
    assert list(imports("p.q", "from .a import b", True)) == [("p.q.a.b", True)]
    guarded = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n"
    assert list(imports("m", guarded, False)) == [("typing.TYPE_CHECKING", True)]

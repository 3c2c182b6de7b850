"""A user's own class: found by import path or entry point, and refused in one clear line."""

from __future__ import annotations

import sys
import textwrap
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from alpamayo.types import RequestError
from policies import user
from policies.registry import is_network, load_policy, needs_images
from tests.policies.cases import observation

GOOD = """
    import numpy as np
    from alpamayo.types import PlanBatch

    class Gentle:
        name = "gentle"
        needs_privileged = False
        needs_images = False

        def plan(self, observation, *, noise_keys, privileged=None):
            steps = np.zeros((len(observation), 8), np.float32)
            return PlanBatch(steps - 1.0, steps)

    class Nested:
        Inner = Gentle

    number = 3

    class NeedsArgument:
        def __init__(self, path): ...

    class Raises:
        def __init__(self):
            raise OSError("no weights here")

    class NoName(Gentle):
        name = None

    class NoPrivilege(Gentle):
        needs_privileged = "no"

    class NoPlan:
        name, needs_privileged = "x", False

    class WrongPlan(NoPlan):
        def plan(self, observation): ...

    class NoMemory(Gentle):
        needs_memory = True
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package ``mine_<test>`` with the module ``drivers`` in the working directory."""
    package = f"mine_{tmp_path.name.rstrip('0123456789')}"[:40]
    folder = tmp_path / package
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "drivers.py").write_text(textwrap.dedent(GOOD))
    (folder / "broken.py").write_text("x = 1\nraise ValueError('half\\nwritten')\n")
    (folder / "needs.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [p for p in sys.path if p])
    for name in list(sys.modules):
        if name.split(".")[0] == package:
            monkeypatch.delitem(sys.modules, name)
    return package


@pytest.mark.parametrize("path", ["Gentle", "Nested.Inner"])
def test_a_class_is_found_by_its_import_path(module: str, path: str) -> None:
    spec = f"{module}.drivers:{path}"
    policy = load_policy(spec)
    plan = policy.plan(observation(3), noise_keys=np.zeros(3, np.uint64))
    assert policy.name == "gentle" and plan.as_actions()[2, 7].tolist() == [-1.0, 0.0]
    assert not is_network(spec) and not needs_images(spec, policy)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("drivers:Gentel", "drivers has no Gentel; did you mean Gentle?"),
        ("drivers:number", "expected a class or a function, got int"),
        ("drivers:NeedsArgument", "called without arguments: missing a required argument: 'path'"),
        ("drivers:Raises", "making it: OSError: no weights here ("),
        ("drivers:NoName", "name: expected a string"),
        ("drivers:NoPrivilege", "needs_privileged: expected True or False"),
        ("drivers:NoPlan", "expected a method plan"),
        ("drivers:WrongPlan", "expected plan(observation, *, noise_keys, privileged)"),
        ("drivers:NoMemory", "expected plan(observation, *, noise_keys, privileged, memory)"),
        ("driver:Gentle", "no module mine_"),
        ("broken:X", "ValueError: half written ("),
        ("needs:X", "importing mine_"),
    ],
)
def test_what_is_wrong_with_a_class_is_said_in_one_line(
    module: str, path: str, expected: str
) -> None:
    spec = f"{module}.{path}"
    with pytest.raises(RequestError) as error:
        load_policy(spec)
    text = str(error.value)
    assert text.startswith(f"policy {spec}: ") and expected in text and "\n" not in text


def test_an_unknown_package_is_named() -> None:
    with pytest.raises(RequestError, match=r"no module nowhere in Python's path"):
        load_policy("nowhere.at.all:Policy")


def test_a_missing_package_that_the_module_imports_is_told_apart(module: str) -> None:
    with pytest.raises(RequestError, match="No module named 'a_package_that_is_not_there'"):
        load_policy(f"{module}.needs:X")


def test_an_installed_package_may_offer_policies(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [
        EntryPoint("gentle", f"{module}.drivers:Gentle", user.GROUP),
        EntryPoint("odd", f"{module}.drivers", user.GROUP),
    ]
    monkeypatch.setattr(user, "entry_points", lambda group: points)
    assert load_policy("gentle").name == "gentle"
    with pytest.raises(RequestError, match="policy odd: its entry point: expected module:Class"):
        load_policy("odd")
    with pytest.raises(RequestError, match=r"constant_speed, gentle, odd, .*did you mean gentle"):
        load_policy("gentel")


def test_what_decodes_no_tokens_takes_no_decode_options(module: str) -> None:
    with pytest.raises(RequestError, match="takes no decode options"):
        load_policy(f"{module}.drivers:Gentle", rounds=2)

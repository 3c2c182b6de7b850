"""What ships is found from a checkout and from an installed wheel; pins and declarations agree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from alpamayo import __version__, paths

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
)


def test_the_checkout_finds_configs_library_and_suites() -> None:
    assert paths.configs_dir() == ROOT / "configs"
    assert paths.find_config("configs/demo.yaml") == Path("configs/demo.yaml") or (
        paths.find_config("configs/demo.yaml") == ROOT / "configs/demo.yaml"
    )
    assert paths.library_dir() == ROOT / "scenarios" / "library"
    assert paths.suites_dir() == ROOT / "scenarios" / "suites"


def test_configs_are_found_from_any_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert paths.find_config("configs/train/cpu.yaml") == ROOT / "configs" / "train" / "cpu.yaml"
    assert paths.find_config("train/cpu.yaml") == ROOT / "configs" / "train" / "cpu.yaml"


def test_every_runtime_and_dev_dependency_is_pinned() -> None:
    declared = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    names = {
        re.split(r"[\[<>=!~ ]", d)[0].lower().replace("_", "-").replace(".", "-") for d in declared
    }
    assert names <= set(PINS)
    assert PINS["torch"] == "2.13.0"


def test_pins_are_exact_versions() -> None:
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for version in PINS.values())


def test_the_makefile_and_the_ci_script_run_the_same_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text()


def test_a_made_environment_is_left_alone_the_second_time(tmp_path: Path) -> None:
    """With all stamps newer than the inputs, nothing is left to do but the demo itself."""
    for name in ("Makefile", "pyproject.toml", "setup.py", "constraints.txt"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / ".venv").mkdir()
    for stamp in ("venv", "torch", "run", "dev"):
        (tmp_path / ".venv" / f".stamp-{stamp}").write_text("")

    def plan(target: str) -> list[str]:
        words = ["make", "-n", "-C", str(tmp_path), "--no-print-directory", target]
        clean = {
            k: v
            for k, v in os.environ.items()
            if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "ARGS")
        }
        return subprocess.run(
            words, capture_output=True, text=True, check=True, env=clean
        ).stdout.splitlines()

    assert [line.strip() for line in plan("demo")] == [".venv/bin/alpamayo demo"]
    assert len(plan("test")) == 1
    newer = (tmp_path / ".venv" / ".stamp-dev").stat().st_mtime + 10
    os.utime(tmp_path / "pyproject.toml", (newer, newer))
    assert any("pip" in line and "install" in line for line in plan("demo"))


@pytest.mark.slow
def test_an_installed_wheel_finds_everything_that_ships(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    source = tmp_path / "source"
    source.mkdir()
    # A copy: building in the checkout would leave build/ and *.egg-info there.
    packages = ("alpamayo", "sim", "policies", "scenarios", "configs")
    files = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
    subprocess.run(
        ["cp", "-r", *(str(ROOT / n) for n in packages + files), str(source)], check=True
    )
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "wheel", *offline, "-w", str(tmp_path), str(source)], check=True)
    (wheel,) = tmp_path.glob("alpamayo-*.whl")
    assert wheel.name.startswith(f"alpamayo-{__version__}-")
    names = zipfile.ZipFile(wheel).namelist()
    for tree, inside in (("configs", "alpamayo/_configs"), ("scenarios", "scenarios")):
        shipped = {f"{inside}/{p.relative_to(ROOT / tree)}" for p in (ROOT / tree).rglob("*.yaml")}
        assert shipped <= set(names)
    weights = (ROOT / "policies" / "weights").rglob("*.safetensors")
    assert {str(p.relative_to(ROOT)) for p in weights} <= set(names)
    assert not [n for n in names if n.startswith(("tests/", "docs/", "benchmarks/", "configs/"))]

    target = tmp_path / "site"
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)],
        check=True,
    )
    code = (
        "import sys; from pathlib import Path; from alpamayo import config, paths;"
        "site = Path(sys.argv[1]);"
        "assert paths.configs_dir() == site / 'alpamayo/_configs', paths.configs_dir();"
        "config.load_config('train', 'configs/train/cpu.yaml');"
        "assert paths.scenarios_dir() == site / 'scenarios', paths.scenarios_dir();"
        "assert paths.shipped_weights_dir().is_relative_to(site)"
    )
    away = {**os.environ, "PYTHONPATH": str(target)}
    subprocess.run([sys.executable, "-c", code, str(target)], check=True, cwd=tmp_path, env=away)
    assert (target / "bin" / "alpamayo").exists()

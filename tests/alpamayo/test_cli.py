"""The frame of the command line: help, errors, exit codes, and how long the help takes."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alpamayo.cli import main as cli
from alpamayo.types import CheckFailed, RequestError

ROOT = Path(__file__).resolve().parents[2]
HELP_CPU_S = 0.5


def help_cpu_s(*words: str) -> float:
    """CPU seconds (user + system) of one ``python -m alpamayo ... --help``."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(write, 1)
        os.dup2(write, 2)
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "alpamayo", *words, "--help"])
    os.close(write)
    with os.fdopen(read) as stream:
        output = stream.read()
    _, status, usage = os.wait4(child, 0)
    assert status == 0, output
    assert "usage: alpamayo" in output
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("command", ["", *cli.COMMANDS])
def test_help_is_fast(command: str) -> None:
    words = [command] if command else []
    # The quickest of up to three: what the command needs, not what else the machine does.
    times: list[float] = []
    while len(times) < 3 and (not times or min(times) >= HELP_CPU_S):
        times.append(help_cpu_s(*words))
    assert min(times) < HELP_CPU_S, f"CPU seconds: {times}"


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_the_three_things_the_frame_asks_for(command: str) -> None:
    module = importlib.import_module(f"alpamayo.cli.{command}")
    assert isinstance(module.HELP, str) and module.HELP
    assert callable(module.add_arguments) and callable(module.run)


@pytest.mark.parametrize("heavy", ["torch", "ray", "cv2", "transformers", "pandas"])
def test_importing_the_packages_does_not_import(heavy: str) -> None:
    code = f"import alpamayo, alpamayo.config, sim, sys; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_list_of_commands_names_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in cli.COMMANDS)


def test_without_a_command_the_help_appears_and_the_request_was_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main([]) == 2
    assert "commands:" in capsys.readouterr().err


def test_an_unknown_command_is_corrected(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trian"]) == 2
    assert "unknown command trian; did you mean train?" in capsys.readouterr().err


def test_an_unknown_option_is_a_wrong_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "runs/x", "--outt", "y"]) == 2
    assert "--out" in capsys.readouterr().err


def fake_command(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> None:
    def run(args: Any) -> int:
        if error is not None:
            raise error
        assert args.words == ["a=1", "b=2"] and args.flag
        return 0

    def add_arguments(parser: Any) -> None:
        parser.add_argument("words", nargs="*")
        parser.add_argument("--flag", action="store_true")

    module = SimpleNamespace(HELP="fake", add_arguments=add_arguments, run=run)
    monkeypatch.setitem(sys.modules, "alpamayo.cli.train", module)  # type: ignore[misc]


def test_settings_may_stand_before_and_after_options(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_command(monkeypatch, None)
    assert cli.main(["train", "a=1", "--flag", "b=2"]) == 0


@pytest.mark.parametrize(
    ("error", "code"), [(RequestError("f.yaml:3: lr: expected x"), 2), (CheckFailed("3 errors"), 1)]
)
def test_errors_are_one_line_and_an_exit_code(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_command(monkeypatch, error)
    assert cli.main(["train"]) == code
    assert capsys.readouterr() == ("", f"alpamayo train: {error}\n")


def test_ctrl_c_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from alpamayo import run_dir

    fake_command(monkeypatch, KeyboardInterrupt())
    monkeypatch.setattr(run_dir, "_current", SimpleNamespace(path="runs/x"))
    assert cli.main(["train"]) == 130
    assert "go on with: alpamayo train --resume runs/x" in capsys.readouterr().err


def test_a_mistake_of_the_program_is_not_dressed_up_as_the_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_command(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        cli.main(["train"])


# submit, export
# ------------------------------------------------------------------------------------
SUBMIT = ["submit", "--config", "configs/train/cpu.yaml", "--working-dir", str(ROOT), "--dry-run"]
SUBMIT += ["--storage", "/shared/runs", "--name", "night"]


def test_submit_prints_the_equivalent_ray_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert cli.main([*SUBMIT, "--address", "http://head:8265", "learner.lr=1e-5"]) == 0
    line = capsys.readouterr().out.strip()
    assert line.startswith("ray job submit --address http://head:8265 --runtime-env-json ")
    assert line.endswith(
        " -- python -m alpamayo.cli.job --storage /shared/runs --name night --"
        " train --config configs/train/cpu.yaml learner.lr=1e-5"
    )
    assert "/runs/" in line and ".git/" in line


def test_submit_prints_one_json_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert cli.main([*SUBMIT, "--address", "http://head:8265", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["job_id"] is None


@pytest.mark.parametrize(
    "address", ["head:8265", "ray://head:10001", "http://", "http://head:port"]
)
def test_submit_wants_a_dashboard_url(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*SUBMIT, "--address", address]) == 2
    assert "expected the URL of a Ray dashboard" in capsys.readouterr().err


def test_submit_checks_the_settings_before_anything_travels(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert cli.main([*SUBMIT, "--address", "http://head:8265", "learner.lr=-1"]) == 2
    assert "command line: learner.lr=-1" in capsys.readouterr().err


def test_submit_says_that_nobody_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    words = [w for w in SUBMIT if w != "--dry-run"]
    assert cli.main([*words, "--address", "http://127.0.0.1:9"]) == 2
    assert "no Ray dashboard answers there" in capsys.readouterr().err


def test_bench_refuses_senseless_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "sim", "--worlds", "0"]) == 2
    assert "--worlds 0: expected a number >= 1" in capsys.readouterr().err

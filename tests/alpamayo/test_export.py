"""Which checkpoint leaves a run, and that nothing half-written is left where it should go."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from alpamayo import checkpoints
from alpamayo.cli import main as cli
from alpamayo.config import load_config
from alpamayo.run_dir import RunDir
from alpamayo.types import RequestError


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoints iter_0002 and iter_0010: the tiny model, initialised from seeds 2 and 10."""
    from policies.vlm.checkpoint import save_pretrained
    from policies.vlm.config import VLMConfig
    from policies.vlm.model import NLDModel

    root = tmp_path_factory.mktemp("saved")
    for iteration in (2, 10):
        model = NLDModel(VLMConfig.preset("tiny")).init_weights(iteration)
        folder = save_pretrained(model, root / f"iter_{iteration:04d}")
        (folder / "training").mkdir()
        (folder / "training" / "state.json").write_text("{}")
    return root


@pytest.fixture
def run(saved: Path, tmp_path: Path) -> RunDir:
    """A run with both checkpoints and the beginning of a third."""
    run = RunDir.create("train", load_config("train", None, [f"run_root={tmp_path / 'runs'}"]))
    shutil.copytree(saved, run.checkpoints_dir)
    (run.checkpoints_dir / "latest").symlink_to("iter_0010")
    (run.checkpoints_dir / "iter_0011").mkdir()  # interrupted while it was written
    return run


def test_only_complete_checkpoints_count_oldest_first(run: RunDir) -> None:
    assert [p.name for p in checkpoints.checkpoints(run)] == ["iter_0002", "iter_0010"]


def test_the_newest_is_best_until_an_evaluation_says_otherwise(run: RunDir) -> None:
    assert checkpoints.best(run)[0].name == "iter_0010"
    run.set_status("finished", best_checkpoint="checkpoints/iter_0002")
    assert checkpoints.best(run)[0].name == "iter_0002"
    run.set_status("finished", best_checkpoint="checkpoints/iter_0099")
    with pytest.raises(RequestError, match="best_checkpoint: checkpoints/iter_0099 is not in"):
        checkpoints.best(run)


def test_export_holds_the_policy_and_nothing_of_the_learner(
    run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from policies.vlm.checkpoint import from_pretrained

    out = tmp_path / "a" / "policy"
    words = ["export", str(run.path), "--out", str(out), "--checkpoint", "iter_0002", "--json"]
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out)["out"] == str(out)
    assert sorted(p.name for p in out.iterdir()) == ["config.json", "model.safetensors"]
    kept = from_pretrained(run.checkpoints_dir / "iter_0002").state_dict()
    exported = from_pretrained(out).state_dict()
    assert kept.keys() == exported.keys()
    assert all(bool((kept[name] == exported[name]).all()) for name in kept)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--checkpoint", "iter_0099"], "expected a checkpoint; there are: iter_0002, iter_0010"),
        (["--checkpoint", "iter_0011"], "expected a checkpoint; there are: iter_0002, iter_0010"),
    ],
)
def test_an_unknown_checkpoint_names_the_known_ones(
    words: list[str],
    expected: str,
    run: RunDir,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["export", str(run.path), "--out", str(tmp_path / "p"), *words]) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


def test_a_corrupted_checkpoint_leaves_nothing_at_the_target(
    run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run.checkpoints_dir / "iter_0010" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    assert cli.main(["export", str(run.path), "--out", str(tmp_path / "p")]) == 2
    error = capsys.readouterr().err
    assert "model.safetensors" in error and error.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runs"]


def test_a_folder_in_use_is_left_alone(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", str(run.path), "--out", str(run.path)]) == 2
    assert "expected a new or empty folder" in capsys.readouterr().err


def test_a_run_without_checkpoints_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = RunDir.create("train", load_config("train", None, [f"run_root={tmp_path}"]))
    assert cli.main(["export", str(empty.path), "--out", str(tmp_path / "p")]) == 2
    assert "expected a checkpoint (iter_NNNN), found none" in capsys.readouterr().err

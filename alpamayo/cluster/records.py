"""Which jobs were submitted from here: ``runs/jobs/<id>.json``, so that a lost terminal loses
nothing. Holds no token: Ray's client finds it anew.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from alpamayo.cluster.submit import Job
from alpamayo.replay.files import write_whole
from alpamayo.run_dir import read_json
from alpamayo.types import RequestError

FOLDER = Path("runs/jobs")


@dataclass(frozen=True)
class Record:
    """``ids``: of the job on the cluster, the newest last (a lost one is submitted again)."""

    job: Job
    ids: tuple[str, ...]

    @property
    def job_id(self) -> str:
        return self.ids[-1]

    @property
    def results(self) -> str:
        return f"{self.job.storage}/{self.job.name}"


def remember(job: Job, ids: tuple[str, ...], folder: Path = FOLDER) -> Record:
    """Write down that ``job`` runs as ``ids[-1]``."""
    record = Record(job, ids)
    write_whole(folder / f"{ids[0]}.json", json.dumps(asdict(record), indent=2) + "\n")
    return record


def recall(job_id: str | None, folder: Path = FOLDER) -> Record:
    """The record of ``job_id``, of its name, or of the job submitted last."""
    files = sorted(folder.glob("*.json"), key=lambda f: f.stat().st_mtime)
    records = [_read(file) for file in files]
    if job_id is not None:
        records = [r for r in records if job_id in (*r.ids, r.job.name)]
    if not records:
        what = "no job was submitted from here" if job_id is None else f"no job {job_id} known here"
        raise RequestError(f"{folder}: {what}; name one with its --address")
    return records[-1]


def _read(file: Path) -> Record:
    told = read_json(file)
    try:
        job = {**told["job"], "overrides": tuple(told["job"]["overrides"])}
        return Record(Job(**job), tuple(told["ids"]))
    except (TypeError, KeyError, ValueError) as error:
        raise RequestError(f"{file}: expected a note of a job ({error})") from None

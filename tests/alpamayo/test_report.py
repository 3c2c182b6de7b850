"""Reports: self-contained, complete, and readable again."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from alpamayo.evaluation.charts import interval_mark, line_chart, ticks
from alpamayo.evaluation.compare import MetricRow, compare, summarise
from alpamayo.evaluation.report import (
    Curve,
    ReportInput,
    curves_from_metrics,
    write_report,
)
from alpamayo.evaluation.report_page import render_report
from alpamayo.evaluation.runs import load_report
from alpamayo.judged import JudgedEpisode
from alpamayo.metrics import failed_result
from alpamayo.stats import Interval
from alpamayo.types import EpisodeResult, RequestError
from sim.config import SimConfig
from tests.alpamayo.fake_world import scenario


def _judged(row: EpisodeResult, **columns: object) -> JudgedEpisode:
    return JudgedEpisode(**vars(row), **columns)  # type: ignore[arg-type]


def _episodes(crashes: int) -> list[EpisodeResult]:
    rows: list[EpisodeResult] = []
    for n in range(20):
        crash = n < crashes
        plain = replace(
            failed_result(scenario(n), "x"), end="collision" if crash else "timeout", error="",
            at_fault=crash, collision=crash, collision_actor="lead" if crash else "",
            progress_m=50.0, reference_m=60.0,
        )  # fmt: skip
        rows.append(
            _judged(
                plain, distance_m=100.0, steady_share=0.5, oncoming_m=0.0, close_s=0.4 * (n == 19),
                hit_kind="car" if crash else "", hit_side="front" if crash else "",
            )
        )  # fmt: skip
    return rows


def _report(**changes: object) -> ReportInput:
    before, after = _episodes(10), _episodes(2)
    after[19] = _judged(failed_result(scenario(19), "OSError: <the worker> died"))
    values = {
        "title": "before & after",
        "comparison": compare(before, after, resamples=200),
        "before": before,
        "after": after,
        "settings": {"sim": SimConfig(), "seed": 3},
        "decoding": "Block diffusion in 2 rounds",
        "curves": [Curve("failure rate", ((0.0, 0.5), (10.0, 0.1)))],
        "replays": {("fake", 0): [("view", "replays/fake-0.html")]},
        "commands": ["alpamayo demo"],
    }
    return ReportInput(**{**values, **changes})  # type: ignore[arg-type]


class _Balanced(HTMLParser):
    """Fails on tags that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_self_contained_and_well_formed() -> None:
    page = render_report(_report())
    assert not re.search(r"https?:|//[a-z]|src=|url\(|@import", page)
    parser = _Balanced()
    parser.feed(page)
    assert parser.open == []
    assert "before &amp; after" in page and "Block diffusion in 2 rounds" in page


def test_failed_rows_are_in_every_file(tmp_path: Path) -> None:
    files = write_report(tmp_path, _report())
    page = files.html.read_text()
    assert (
        "failed to run" in page
        and "OSError: &lt;the worker&gt; died" in page
        and "<the worker>" not in page
    )
    rows = list(csv.DictReader(io.StringIO(files.csv.read_text())))
    assert len(rows) == 40
    last = rows[-1]
    assert (last["role"], last["end"], last["driving_score"]) == ("after", "failed", "0.000000")
    assert json.loads(last["parameters"]) == {"decisions": 3}
    document = json.loads(files.json.read_text())
    assert document["comparison"]["failed_to_run"] == {"before": 0, "after": 1}
    assert document["settings"]["sim"]["tick_s"] == 0.1
    assert not list(tmp_path.glob("*.part"))


def test_the_failure_list_links_replays_and_names_parameters() -> None:
    page = render_report(_report())
    assert "<a href='replays/fake-0.html'>view</a>" in page and "decisions 3" in page
    assert page.index("failed to run</span>") < page.index("collision, at fault (lead)")


def test_a_report_is_read_back_as_it_was(tmp_path: Path) -> None:
    report = _report()
    write_report(tmp_path, report)
    roles = load_report(tmp_path)
    assert roles == {"before": list(report.before), "after": list(report.after)}


def test_a_single_policy_has_no_after(tmp_path: Path) -> None:
    rows = _episodes(3)
    report = _report(before=rows, after=(), comparison=summarise(rows, resamples=100))
    page = write_report(tmp_path, report).html.read_text()
    assert "Results" in page and "<th>change" not in page
    assert list(load_report(tmp_path / "report.json")) == ["before"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "valid JSON"),
        ("[1]", "schema_version: expected 1 or 2"),
        ('{"schema_version": 1}', "episodes: expected"),
        (
            '{"schema_version": 1, "episodes": {"before": [{"end": 3}]}}',
            "episodes.before[0].scenario_id: missing",
        ),
        (
            '{"schema_version": 1, "episodes": {"before": [{"x": 3}]}}',
            "episodes.before[0].x: unknown key",
        ),
    ],
)
def test_a_damaged_report_is_refused_with_its_place(
    tmp_path: Path, text: str, expected: str
) -> None:
    file = tmp_path / "report.json"
    file.write_text(text)
    with pytest.raises(RequestError) as error:
        load_report(file)
    assert str(file) in str(error.value) and expected in str(error.value)


def test_a_missing_report_and_an_unwritable_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="readable report"):
        load_report(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="writable"):
        write_report(tmp_path / "file", _report())


def test_learning_curves_come_from_the_metrics_file(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(
        '{"step": 1, "a": 2.0}\n{"step": 2, "a": null, "b": 1}\n{"step": 3, "a": 4}\n{"step":'
    )
    curves = curves_from_metrics(file, {"a": "A", "c": "C"})
    assert curves == [Curve("A", ((1.0, 2.0), (3.0, 4.0)))]
    file.write_text("nonsense\n{}\n")
    with pytest.raises(RequestError, match=":1: expected a JSON object"):
        curves_from_metrics(file, {"a": "A"})


def test_charts_handle_one_point_no_point_and_infinities() -> None:
    assert "polyline" in line_chart([(0.0, 1.0)]) and "no data" in line_chart([])
    assert "nan" not in line_chart([(0.0, 1.0), (1.0, float("nan")), (2.0, 3.0)])
    assert ticks(0.0, 10.0) == [0.0, 5.0, 10.0] and ticks(-1.0, 1.0)[0] == -1.0
    assert interval_mark(None, None) == ""
    assert "inf" not in interval_mark(Interval(0.1, 0.0, 0.2), Interval(0.1, -float("inf"), 0.2))


def test_a_change_is_coloured_if_the_corrected_test_agrees() -> None:
    from alpamayo.evaluation.page import tone_of

    fall = Interval(-0.3, -0.5, -0.1)
    row = MetricRow("off_road", "x", "rate", "lower", Interval(0.5, 0.4, 0.6), None, fall)
    assert tone_of(row) == "good" and tone_of(replace(row, better="higher")) == "bad"
    assert tone_of(replace(row, p_value=0.01, p_adjusted=0.04)) == "good"
    assert tone_of(replace(row, p_value=0.01, p_adjusted=0.3)) == ""
    assert tone_of(replace(row, difference=Interval(-0.3, -0.5, 0.1))) == ""
    assert tone_of(replace(row, name="mean_speed")) == ""


def test_regressions_have_a_list_of_their_own() -> None:
    before, after = _episodes(0), _episodes(1)
    page = render_report(
        _report(before=before, after=after, comparison=compare(before, after, resamples=50))
    )
    listed = page.split("<h2>Regressions</h2>")[1].split("</section>")[0]
    assert "1 of 20 episodes" in listed and listed.count("<tr>") == 2 and "decisions 3" in listed
    same = _report(before=before, after=before, comparison=compare(before, before, resamples=50))
    assert "whatever went well before still does" in render_report(same)
    assert "Regressions" not in render_report(
        _report(before=before, after=(), comparison=summarise(before, resamples=50))
    )

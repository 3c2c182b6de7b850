"""A report in a real browser, without a network: its tables sort and filter."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from alpamayo.evaluation.compare import compare
from alpamayo.evaluation.report import ReportInput, write_report
from tests.alpamayo.evaluated import row, rows

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")

pytestmark = pytest.mark.skipif(BROWSER is None, reason="expected Chromium")


def ask(page: Path, script: str, folder: Path) -> Any:
    """What ``script`` (JavaScript, an expression) says on ``page`` after its own script has run."""
    asking = folder / "asked.html"
    tail = (
        f"<pre id='answer'></pre><script>document.getElementById('answer').textContent ="
        f" JSON.stringify({script});</script></body>"
    )
    asking.write_text(page.read_text().replace("</body>", tail))
    done = subprocess.run(
        [
            str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom",
            "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}",
            asking.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    answer = re.search(r"<pre id=.answer.>(.*?)</pre>", done.stdout, re.S)
    assert answer is not None, done.stdout[-2000:]
    return json.loads(html.unescape(answer[1]))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    families = ("cut_in", "debris", "animal")
    before = [row(n, "collision" if n % 4 == 0 else "timeout", family=families[n % 3])
              for n in range(40)]  # fmt: skip
    after = [row(n, "off_road" if n in (1, 2) else "timeout", family=families[n % 3])
             for n in range(40)]  # fmt: skip
    report = ReportInput("t", compare(before, after, resamples=100), before, after)
    return write_report(tmp_path_factory.mktemp("report"), report).html


def column(index: int, table: str) -> str:
    cell = f"r.cells[{index}]"
    return f"Array.from({table}.tBodies[0].rows, r => {cell}.dataset.v ?? {cell}.textContent)"


def test_a_click_on_a_heading_sorts_and_a_second_one_turns_round(
    page: Path, tmp_path: Path
) -> None:
    table = "document.getElementById('failures')"
    seeds = column(1, table)
    click = f"{table}.tHead.rows[0].cells[1].click()"
    answer = ask(
        page, f"[{seeds}, ({click}, {seeds}), ({click}, {seeds}), "
        f"{table}.tHead.rows[0].cells[1].getAttribute('aria-sort')]", tmp_path,
    )  # fmt: skip
    first, up, down, state = answer
    assert sorted(map(int, first)) == list(map(int, up)) == list(map(int, down))[::-1]
    assert list(map(int, first)) != list(map(int, up)) and state == "descending"


def test_numbers_sort_as_numbers_and_what_is_empty_comes_last(page: Path, tmp_path: Path) -> None:
    table = "document.querySelectorAll('table.sortable')[1]"  # the metrics
    click = f"{table}.tHead.rows[0].cells[3].click()"
    changes = ask(page, f"({click}, {column(3, table)})", tmp_path)
    known = [float(v) for v in changes if v != ""]
    assert known == sorted(known) and len(known) > 10
    assert changes[: len(known)] == [v for v in changes if v != ""]


def test_words_filter_the_failures(page: Path, tmp_path: Path) -> None:
    typed = (
        "(i => (i.value = 'WORSE left', i.dispatchEvent(new Event('input')), [Array.from("
        "document.getElementById('failures').tBodies[0].rows).filter(r => !r.hidden).length, "
        "document.getElementById('failures-shown').textContent]))(document.querySelector('.filter'))"
    )
    shown, words = ask(page, typed, tmp_path)
    assert shown == 2 and words == "2 of 12 shown"


def test_text_of_a_scenario_is_text(tmp_path: Path) -> None:
    nasty = "<img src=x onerror=\"document.title='broken'\">'&"
    before = rows(3, (0, 1), parameters={nasty: nasty}, collision_actor=nasty, family=nasty)
    report = ReportInput(nasty, compare(before, before, names=(nasty, nasty), resamples=20), before,
                         before, tags={"fake": [nasty]}, decoding=nasty, notes=[nasty],
                         settings={nasty: nasty})  # fmt: skip
    page = write_report(tmp_path, report).html
    assert ask(page, "[document.title, document.images.length]", tmp_path) == [nasty, 0]

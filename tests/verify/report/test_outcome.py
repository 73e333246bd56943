"""A run as a record in Python: what it prints, and shows in a notebook."""

from html.parser import HTMLParser

import pytest

from tests.verify.planted import GOOD
from xpconv.verify import check_library
from xpconv.verify.report.files import as_markdown
from xpconv.verify.report.summary import HEADINGS, rows


class Page(HTMLParser):
    """A table's cells, which of them stand out, and the texts beside it; fails where a tag is not closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.cells, self.strong, self.beside = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if set(self.open) & {"td", "th"}:
            self.cells[-1] += data
            self.strong += [data] if "strong" in self.open else []
        elif data.strip():
            self.beside.append(data)


@pytest.fixture(scope="module")
def report():
    return check_library(["numpy"], operations=["pad", "create_mask_from_window"])


def test_a_notebook_shows_the_table_of_the_markdown(report):
    page = Page(report._repr_html_())
    table = [line for line in as_markdown(report).splitlines() if line.startswith("| ") and "---" not in line]
    assert page.cells == [cell.strip() for line in table for cell in line.strip("|").split("|")]
    assert len(table) == 3
    assert page.strong == []
    for text in page.beside:
        assert text in as_markdown(report)
    assert page.beside[:2] == [report.verdict, report.circumstances]


def test_it_prints_the_same(report):
    printed = str(report)
    assert repr(report) == printed
    assert printed.splitlines()[-1] == report.verdict
    for cell in (*HEADINGS, *(cell for row in rows(report.results) for cell in row.cells())):
        assert cell in printed


def test_a_failure_stands_out_with_the_line_that_shows_it_again(monkeypatch):
    monkeypatch.setattr("xpconv.pad", lambda *given, **options: GOOD["pad"](*given, **options) + 1)
    report = check_library(["numpy"], operations=["pad", "create_mask_from_window"])
    page = Page(report._repr_html_())
    assert not report.passed
    assert page.strong[:2] == ["numpy", "pad"]
    assert "create_mask_from_window" not in page.strong
    (told,) = report.told()
    assert "\n".join(told) in page.beside
    assert told[0].startswith("FAILED numpy pad/")
    assert "\n".join(told) in str(report)


def test_a_wrong_name_is_refused():
    with pytest.raises(ValueError, match=r"check_library: 'blur' is no operation; they are .*conv"):
        check_library(["numpy"], operations=["blur"])
    with pytest.raises(RuntimeError, match=r"unknown backend .nump.; choose one of .*; did you mean numpy"):
        check_library(["nump"])

"""The report reads offline: its pages, their links, formulas and alt texts, and how they look in a real browser."""

import base64
import csv
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import matplotlib.pyplot as plt
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from report import __main__ as command
from report import board, pages
from report.notebook import Page, mathml
from study import paper

REPO = Path(__file__).resolve().parents[1]
WIDGET = "application/vnd.jupyter.widget-view+json"
README_STALE = "run: PYTHONPATH=.:notebooks python -P -m report --readme"


def claim(id, verdict, value="0.5", **other):
    return {"notebook": "01_first", "id": id, "source": "Sec. 3", "statement": "It is so", "statistic": "size",
            "value": value, "low": "", "high": "", "holds_if": "> 0", "verdict": verdict, "note": ""} | other


def picture(path=None):
    """A small PNG, written to `path` too, as base64."""
    figure = plt.figure(figsize=(6, 2))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)
    return base64.b64encode(path.read_bytes()).decode()


def execute(folder, stem, *cells):
    path = folder / "executed" / f"{stem}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=list(cells)), path)


def shown(source, **data):
    metadata = data.pop("metadata", {})
    return new_code_cell(source, outputs=[new_output("display_data", data, metadata=metadata)])


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What two notebooks of a small profile left behind."""
    folder = tmp_path_factory.mktemp("here") / "results" / "tiny one"
    (folder / "metrics").mkdir(parents=True)
    png = {"image/png": picture(folder / "figures" / "fig09_pairs.png")}
    picture(folder / "figures" / "fig01.png")
    (folder / "figures" / "fig09_pairs.csv").write_text("title,x\nthree seeds,1\n")
    execute(folder, "01_first", new_markdown_cell(
        "# 01 · The first\n\nSee [two](02_second.ipynb#Loss), [losses](../helpers/losses.py), [gone](nowhere.md), "
        "[arXiv](https://arxiv.org/abs/1910.03468), "
        "[words](glossary.md).\n\n## One pair\n\n$$S=\\sum_{ij}c_{ij}$$ and $\\hat y < 1$, \\$5."
        "\n\n| a | b |\n|---|---|\n| 1 | 2 |"),
        shown('outputs.figure(draw(data), "fig09_pairs");', **png),
        shown("draw(other)", **png, metadata={"image/png": {"alt": "two \"arms\""}}),
        shown("grid", **{WIDGET: {"model_id": "1"}, "application/javascript": "alert(1)", "text/html": "<table><tr><td>"
                         + "wide" * 300 + "</td></tr></table>"}),
        new_code_cell("x = '" + "long " * 40 + "'", outputs=[new_output("stream", name="stdout", text="a line " * 60)]))
    failed = new_output("error", ename="ZeroDivisionError", evalue="no", traceback=["\x1b[31mno\x1b[0m"])
    execute(folder, "02_second", new_markdown_cell("# 02 · The second\n\n## Loss"),
            new_code_cell("1 / 0", outputs=[failed]))
    rows = [claim("less-confident", "holds"), claim("pgd-flattens", "holds"), claim("wpgd-preserves-similar", "fails")]
    write_csv(folder / "claims.csv", rows)
    write_csv(folder / "paper_vs_ours.csv", [{
        "notebook": "01_first", "quantity": "rho", "paper": "-0.88", "ours": "-0.25212", "unit": "",
        "note": "W-10-1; digits stand in, not comparable"}])
    facts = {"notebook": "01_first", "commit": "abc123", "seed": 7, "device": "cpu (x)", "threads": 2, "seconds": 4.2,
             "date": "2026-11-26", "python": "3.12.1", "versions": {"torch": "2.13.0"}}
    (folder / "metrics" / "01_first.json").write_text(json.dumps({"provenance": facts}))
    return folder


def write_csv(path, rows):
    import pandas as pd

    pd.DataFrame(rows).to_csv(path, index=False)


@pytest.fixture(scope="module")
def site(results):
    index = pages.build(results, REPO, "a description")
    assert index == results / "report" / "index.html"
    return index.parent


class Elements(HTMLParser):
    """All start tags of a page: (tag, attributes)."""

    def __init__(self, path):
        super().__init__()
        self.tags = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_nothing_is_loaded_and_every_link_leads_somewhere(site):
    found = {page.name: Elements(page).tags for page in site.glob("*.html")}
    ids = {name: {attrs.get("id") for _, attrs in tags} for name, tags in found.items()}
    assert set(found) == {"index.html", "01_first.html", "02_second.html", "glossary.html"}
    for name, tags in found.items():
        for tag, attrs in tags:
            assert tag not in ("script", "iframe", "object"), f"{name} has a <{tag}>"
            source = attrs.get("src") or (attrs.get("href") if tag == "link" else "") or ""
            assert source.startswith("data:") or not re.match(r"\w+:|//", source), f"{name} loads {source}"
            if tag == "a" and "href" in attrs and not attrs["href"].startswith("https://"):
                file, _, part = attrs["href"].partition("#")
                assert (site / unquote(file)).exists(), f"{name}: {attrs['href']}"
                assert not part or part in ids[file or name], f"{name}: {attrs['href']}"
    style = (site / "style.css").read_text()
    assert re.findall(r"url\(\"(.+?)\"\)", style) == ["stix-two-math.woff"] and (site / "stix-two-math.woff").is_file()
    assert "prefers-color-scheme: dark" in style and "@media print" in style and "&" not in style


def test_links_of_a_notebook_hold_where_its_page_lies(site):
    page = (site / "01_first.html").read_text()
    assert '<a href="glossary.html">words</a>' in page
    assert '<a href="02_second.html#Loss">two</a>' in page and "gone" in page and "nowhere.md" not in page
    assert re.search(r'<a href="[./]+.*/helpers/losses.py">losses</a>', page)


def test_formulas_are_rendered_before_they_are_read(site):
    page = (site / "01_first.html").read_text()
    assert page.count("<math") == 2 and "$$" not in page and "MathJax" not in page and r"\sum" not in page
    assert "\\hat" not in page and "$5" in page
    assert mathml(r"\frac{1}{2").startswith("<code>"), "what cannot be read stays as it is"


def test_every_formula_of_the_notebooks_can_be_rendered():
    for path in sorted((REPO / "notebooks").glob("*[0-9a-z].[im]*")):
        cells = Page(path, {}, REPO, REPO).content.cells
        for cell in cells:
            text = re.sub(r"`[^`]*`", "", cell.source) if cell.cell_type == "markdown" else ""
            for long, short in re.findall(r"\$\$(.+?)\$\$|(?<![\\$])\$([^$\n]+?)\$", text, re.DOTALL):
                made = mathml(long or short, block=bool(long))
                assert made.startswith("<math") and "\\" not in made, f"{path.name}: {long or short}"


def test_every_picture_has_an_alt_text_and_a_named_one_its_file(site):
    pictures = [attrs for page in site.glob("*.html") for tag, attrs in Elements(page).tags if tag == "img"]
    assert len(pictures) == 4 and all(len(attrs["alt"]) > 5 for attrs in pictures)
    alts = [attrs["alt"] for tag, attrs in Elements(site / "01_first.html").tags if tag == "img"]
    assert alts == ["Figure 9, pairs: three seeds (section “One pair”)", 'two "arms"']
    page = (site / "01_first.html").read_text()
    assert '<a href="figures/fig09_pairs.png">' in page and "alert(1)" not in page and WIDGET not in page
    index = (site / "index.html").read_text()
    assert "Figure 9, pairs" in index and re.search(r'href="01_first.html#cell-id=\w+">One pair', index)
    assert "CIFAR-10: (a) WordNet distance" in index, "the paper's caption, where a figure's numbers have no title"


def test_index_shows_verdicts_numbers_and_provenance(site):
    index = (site / "index.html").read_text()
    assert "tiny one" in index and "a description" in index and "-0.252" in index
    folded = index.index("1 printed numbers beside which only other images were measured: nothing to compare")
    assert folded < index.index("digits stand in, not comparable") < index.index("</details>", folded)
    for fact in ("abc123", "4.2", "3.12.1", "torch 2.13.0", "01 · The first", "cpu (x), 2 threads"):
        assert fact in index
    assert {path.name for path in site.glob("*.csv")} == {"claims.csv", "paper_vs_ours.csv"}


def test_figures_are_called_what_the_paper_calls_them():
    names = ["fig09_pairs", "table3_attacks", "eq6_errors", "fig13", "my_plot"]
    assert [pages.label(name) for name in names] == ["Figure 9, pairs", "Table 3, attacks", "Equation 6, errors",
                                                     "Figure 13", "my plot"]


def test_a_claim_is_as_strong_as_the_weakest_statistic_that_was_measured():
    rows = [claim("pgd-flattens", "holds"), claim("wpgd-preserves-similar", "fails"),
            claim("two-classes-suffice", "holds"), claim("similar-unbalanced-chance", "not measurable", ""),
            claim("more-classes-weaker", "inconclusive"), claim("gap-follows-metric:cifar10", "not measurable", ""),
            claim("gap-follows-metric:mnist-38", "inconclusive")]
    found = {row["number"]: (row["verdict"], row["decided"]["id"]) for row in board.board(rows)}
    assert found[8] == ("fails", "wpgd-preserves-similar") and found[5] == ("holds", "two-classes-suffice")
    assert found[2][0] == "inconclusive" and found[1] == ("inconclusive", "gap-follows-metric:mnist-38")
    assert found[10] == ("not measurable", "p-lowers-score"), "not part of this run"


def test_the_board_tells_what_must_be_known_of_any_part():
    """A caveat of a statistic that does not decide was lost."""
    rows = [claim("two-classes-suffice", "holds"),
            claim("similar-unbalanced-chance", "holds") | {"note": "at chance with equal classes, too"}]
    assert "at chance with equal classes, too" in board.tables(rows)["board"][5]


def test_the_ten_claims_are_decided_by_known_statistics():
    main, known = paper.values()["main_claims"], {row["id"] for row in paper.values()["claims"]}
    assert [row["number"] for row in main] == list(range(1, 11))
    assert {id.partition(":")[0] for row in main for id in row["decided_by"]} <= known
    written = "".join(path.read_text() for path in (REPO / "notebooks").glob("0*.ipynb"))
    assert not [id for row in main for id in row["decided_by"] if id.partition(":")[0] not in written]


@pytest.mark.parametrize(("name", "holds"), [("README.md", ["board", "omissions"]),
                                             ("results/README.md", ["inconsistencies"])])
def test_tables_of_the_readmes_are_up_to_date(name, holds):
    text = (REPO / name).read_text(encoding="utf-8")
    assert re.findall(r"<!-- (\w+) -->\n\|", text) == holds
    claims = board.committed(REPO / "results")
    assert board.fill(text, claims) == text, README_STALE


def test_the_last_profile_that_measured_a_claim_decides_it(tmp_path):
    files = [tmp_path / "narrow.csv", tmp_path / "wide.csv", tmp_path / "none.csv"]
    for file, verdicts in zip(files, (("holds", "holds"), ("fails", "not measurable"))):
        rows = [claim("less-confident", verdicts[0], file.stem), claim("less-clustered", verdicts[1], file.stem)]
        with file.open("w", newline="") as opened:
            writer = csv.DictWriter(opened, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    found = {row["number"]: row["decided"] for row in board.board(board.read(*files))}
    assert (found[7]["value"], found[7]["verdict"]) == ("wide", "fails")
    assert (found[6]["value"], found[6]["verdict"]) == ("narrow", "holds")


def test_tables_are_filled_in_where_their_marks_stand():
    row = claim("less-confident", "holds", "3.053", low="2.9", high="3.2", statistic="|a|", note="so")
    text = "before\n<!-- board -->\nof last year\n<!-- end -->\nbetween\n<!-- omissions -->\n<!-- end -->\nafter\n"
    filled = board.fill(text, [row])
    assert board.fill(filled, [row]) == filled and "year" not in filled
    assert filled.startswith("before\n<!-- board -->\n| |") and filled.endswith("<!-- end -->\nafter\n")
    assert "less confident (Fig. 7). | *holds* | \\|a\\|: 3.05 [2.9, 3.2], needs > 0; so |" in filled
    assert "\n<!-- end -->\nbetween\n<!-- omissions -->\n| the paper does not say |" in filled


def test_command(results, capsys):
    assert command.main(["--profile", "smoke", "--results", str(results)]) == 2
    assert "./run_all.sh writes them" in capsys.readouterr().err
    shutil.copytree(results, results.parent / "smoke", dirs_exist_ok=True)
    assert command.main(["--profile", "smoke", "--results", str(results.parent)]) == 0
    assert capsys.readouterr().out.strip().endswith("smoke/report/index.html")


@pytest.fixture(scope="module")
def browser():
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not program:
        pytest.skip("no Chromium is installed (Debian, Ubuntu: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


# What reaches over the right edge and cannot be scrolled to within its own box.
OVERFLOWING = """() => {
  const inside = element => {
    for (let box = element.parentElement; box; box = box.parentElement)
      if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(box).overflowX)) return true;
    return false;
  };
  const edge = document.documentElement.clientWidth + 1;
  return [...document.body.querySelectorAll('*')]
    .filter(element => element.getBoundingClientRect().right > edge && !inside(element))
    .map(element => `${element.tagName}.${element.className}: ${element.textContent.slice(0, 60)}`);
}"""


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """The report of what is committed: the notebooks of reduced, and 07."""
    folder = tmp_path_factory.mktemp("site") / "reduced"
    left = shutil.ignore_patterns("runs", "weights", "*.pdf", "tables")
    shutil.copytree(REPO / "results" / "reduced", folder, ignore=left)
    shutil.copy(next((REPO / "results" / "quick" / "executed").glob("07_*.ipynb")), folder / "executed")
    return pages.build(folder, REPO).parent


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("which", ["site", "committed"])
def test_pages_in_a_browser_without_network(browser, which, width, request):
    folder, said = request.getfixturevalue(which), []
    context = browser.new_context(viewport={"width": width, "height": 800}, offline=True)
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(f"failed: {request.url}"))
    for file in sorted(folder.glob("*.html")):
        page.goto(file.as_uri(), wait_until="load")
        page.evaluate("for (const box of document.querySelectorAll('details')) box.open = true")
        page.evaluate("for (const image of document.images) image.loading = 'eager'")
        page.evaluate("Promise.all([...document.images].map(image => image.decode()))")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, file.name
        assert page.evaluate(OVERFLOWING) == [], file.name
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0 && image.alt)"), file.name
    assert said == []
    context.close()


def test_reading_on_in_a_browser(browser, site):
    """From the index to a notebook, on to the next, and back, by clicking."""
    page = browser.new_page()
    page.goto((site / "index.html").as_uri())
    page.click("#notebooks a >> nth=0")
    assert page.title().startswith("01 · The first")
    page.click("nav.bottom a:has-text('The second')")
    page.click("nav.top a:has-text('Report')")
    page.click("figure a:has-text('One pair')")
    assert page.evaluate("document.querySelector(':target img').alt").startswith("Figure 9, pairs")
    page.close()


def test_dark_and_on_paper_in_a_browser(browser, site):
    page = browser.new_page(color_scheme="dark")
    page.goto((site / "index.html").as_uri())
    brightness = "getComputedStyle(document.body).{}.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + +part, 0)"
    assert page.evaluate(brightness.format("backgroundColor")) < 150 < 500 < page.evaluate(brightness.format("color"))
    page.emulate_media(media="print", color_scheme="light")
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert page.evaluate("document.querySelector('#verdicts td').checkVisibility()"), "what is folded is printed"
    page.set_viewport_size({"width": 720, "height": 1000})  # of a sheet of A4
    page.goto((site / "01_first.html").as_uri())
    reach = "Math.max(...[...document.querySelectorAll('td')].map(cell => cell.getBoundingClientRect().right))"
    assert page.evaluate(reach) <= 720
    page.close()


def test_code_is_folded_on_a_phone_and_open_elsewhere(browser, site):
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto((site / "01_first.html").as_uri())
    shown = "document.querySelector('.code .input_area').checkVisibility({contentVisibilityAuto: true})"
    assert not page.evaluate(shown) and page.locator(".code summary").first.is_visible()
    page.locator(".code summary").first.click()
    assert page.evaluate(shown)
    page.set_viewport_size({"width": 1280, "height": 800})
    page.reload()
    assert page.evaluate(shown) and not page.locator(".code summary").first.is_visible()
    page.set_viewport_size({"width": 390, "height": 800})
    page.emulate_media(media="print")
    page.reload()
    assert page.evaluate(shown), "what is folded is printed"
    page.close()

"""Writes the pages: what a profile left in its folder, laid out by the templates beside this file."""
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader
from PIL import Image
from pygments.formatters import HtmlFormatter

from report import board
from report.notebook import GLOSSARY, Exporter, Page
from study import paper

HERE = Path(__file__).parent
KINDS = {"fig": "Figure", "table": "Table", "eq": "Equation"}


def label(name):
    """Return what a figure is called: "fig09_pairs" -> "Figure 9, pairs"."""
    found = re.fullmatch(r"(fig|table|eq)0*(\d+)_?(.*)", name)
    words = [f"{KINDS[found[1]]} {found[2]}", found[3]] if found else [name]
    return ", ".join(word.replace("_", " ") for word in words if word)


def figures(results):
    """Return {name: dict} of the figures that a profile saved: name, label, file, alt, title of their numbers."""
    captions, found, paths = paper.values()["figures"], {}, (results / "figures").glob("*.png")
    for path in sorted(paths, key=lambda path: ([not path.stem.startswith(kind) for kind in KINDS], path.stem)):
        numbers = next((results / "figures").glob(f"{path.stem}.csv*"), None)
        titles = pd.read_csv(numbers, nrows=1, dtype=str, keep_default_na=False).get("title", []) if numbers else []
        title = "".join(titles) or captions.get(path.stem, {}).get("caption", "")
        found[path.stem] = {"name": path.stem, "label": label(path.stem), "file": f"figures/{path.name}",
                            "title": title, "about": Image.open(path).info.get("Description", "")}
    return found


def build(results, repo, description=""):
    """Make the report of a profile in its folder `results`, anew; `repo` is the checkout. Returns index.html."""
    folder, saved = results / "report", figures(results)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "figures").mkdir(parents=True)
    sources = [*sorted((results / "executed").glob("[0-9]*.ipynb")), repo / "notebooks" / GLOSSARY]
    pages = [Page(path, saved, folder, repo) for path in sources]
    for path in filter(Path.is_file, [HERE / "stix-two-math.woff", *results.glob("*.csv")]):
        shutil.copy(path, folder)
    for figure in saved.values():
        shutil.copy(results / figure["file"], folder / "figures")
    colours = {name: HtmlFormatter(style=style).get_style_defs(".highlight")
               for name, style in (("light", "default"), ("dark", "github-dark"))}
    claims, metrics = board.read(results / "claims.csv"), sorted((results / "metrics").glob("*.json"))
    for row in (compared := board.read(results / "paper_vs_ours.csv")):
        row["beside"] = "nothing" if not row["ours"] else "others" if "not comparable" in row["note"] else "ours"
    main, exporter = [*board.board(claims)], Exporter()
    templates = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True,
                            lstrip_blocks=True)
    templates.filters["numeral"] = board.numeral

    def write(name, template, **values):
        text = templates.get_template(template).render(profile=results.name, pages=pages, number=board.number, **values)
        (folder / name).write_text(text, encoding="utf-8")

    write("style.css", "style.css", **colours)
    for before, page, after in zip([None, *pages], pages, [*pages[1:], None]):
        write(f"{page.stem}.html", "notebook.html", body=page.body(exporter), page=page, before=before, after=after)
    write("index.html", "index.html", description=description, claims=claims, main=main, figures=saved.values(),
          counts=Counter(row["verdict"] for row in main), compared=compared,
          unclear=paper.values()["inconsistencies"], metrics=[json.loads(path.read_bytes()) for path in metrics])
    return folder / "index.html"

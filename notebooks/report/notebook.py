"""An executed notebook as HTML: formulas as MathML, alt texts for its figures, links that hold where the page lies."""
import os
import re
from html import escape
from pathlib import Path

import nbformat
from jinja2 import pass_context
from math_core import LatexError, LatexToMathML
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

GLOSSARY = "glossary.md"
LIVE = ("application/vnd.jupyter.widget-view+json", "application/javascript")  # dead in a page without a kernel
MATH = LatexToMathML()
CELLS = (Path(__file__).parent / "templates" / "cells.html").read_text(encoding="utf-8")


class _Renderer(IPythonRenderer):
    """Markdown of one cell of a `Page`."""

    def block_math(self, body):
        return f'<div class="formula">{mathml(body, block=True)}</div>'

    def inline_math(self, body):
        return mathml(body)

    def latex_environment(self, name, body):
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")

    def heading(self, text, level, **attrs):
        html = super().heading(text, level, **attrs)
        if level == 2 and (found := re.search(r'id="([^"]+)"', html)):
            self.page.sections.append((found[1], text))
        return html

    def link(self, text, url, title=None):
        return super().link(text, target, title) if (target := self.page.target(url)) else text

    def image(self, text, url, title=None):
        """Without a network, a picture of another site (a badge) is its text."""
        return escape(text) if "://" in url else super().image(text, url, title)


class Exporter(HTMLExporter):
    """One for all pages of a report: it compiles its templates once."""

    def __init__(self):
        super().__init__(raw_template=CELLS, exclude_input_prompt=True, exclude_output_prompt=True)
        self.register_filter("clean_html", lambda html: html)  # our own notebooks: cleaning takes a third of the time

    @pass_context
    def markdown2html(self, context, source):
        renderer = _Renderer(escape=False, attachments=context.get("cell", {}).get("attachments", {}))
        renderer.page = self.page
        return MarkdownWithMath(renderer=renderer).render(source)


def mathml(latex, block=False):
    """Return LaTeX as MathML; what cannot be read stays LaTeX, so that nothing is lost."""
    try:
        return MATH.convert_with_local_state(latex.strip(), displaystyle=block)
    except LatexError:
        return f"<code>{escape(latex)}</code>"


class Page:
    """An executed notebook, or a text in Markdown: `stem`, `title`, and, once its `body` was made, its `sections`.

    `figures` are those of `pages.figures`: the ones that this notebook saves learn where they stand in it.  `folder` is
    that of the report, `repo` the checkout, for links between them.  A section is (id, HTML).
    """

    def __init__(self, path, figures, folder, repo):
        self.path, self.stem, self.title, self.folder, self.repo = path, path.stem, path.stem, folder, repo
        text, self.sections, section = path.read_text(encoding="utf-8"), [], ""
        self.content = (nbformat.reads(text, as_version=4) if path.suffix == ".ipynb" else
                        nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)]))
        for cell in self.content.cells:
            if cell.cell_type == "markdown":
                for marks, text in re.findall(r"^(##?) (.+)$", cell.source, re.MULTILINE):
                    self.title, section = (text, section) if marks == "#" else (self.title, text)
            elif cell.cell_type == "code":
                self._describe(cell, figures, section)

    def _describe(self, cell, figures, section):
        """Give each picture of a cell an alt text, and tell the figures that the cell saves where they stand."""
        names = dict.fromkeys(re.findall(r'"([\w.+-]+)"', cell.source))
        saved = iter([figures[name] for name in names if name in figures])
        for output in [output for output in cell.outputs if "data" in output]:
            output.data = {kind: data for kind, data in output.data.items() if kind not in LIVE}
            if "image/png" not in output.data:
                continue
            about, figure = output.metadata.setdefault("image/png", {}), next(saved, {})
            figure |= {"section": section, "link": f"{self.stem}.html#cell-id={cell.id}"} if figure else {}
            found = f"{figure.get('label', 'Figure')}: {figure.get('title') or 'see the text beside it'}"
            figure["alt"] = about["alt"] = about.get("alt") or f"{found} (section “{section}”)"
            about["file"] = figure.get("file")

    def target(self, url):
        """Where a link of the notebook leads from its page: another page, a file of the checkout, or None."""
        path, mark, part = url.partition("#")
        if not path or re.match(r"[a-z]+:", url):
            return url
        file = self.repo / "notebooks" / path
        executed = self.folder.parent / "executed" / file.name
        if file.name == GLOSSARY or (file.suffix == ".ipynb" and executed.is_file()):
            return f"{file.stem}.html{mark}{part}"
        return os.path.relpath(file, self.folder) + mark + part if file.exists() else None

    def body(self, exporter):
        exporter.page, self.sections = self, []
        return exporter.from_notebook_node(self.content)[0]

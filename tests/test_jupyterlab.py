"""Notebooks 01 and 07 in JupyterLab, in a real browser: all cells run, the grid of 07 answers to what is typed."""
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

from runner import cli, profiles

ROOT = Path(__file__).resolve().parents[1]
CURRENT = "window.jupyterapp.shell.currentWidget"
OUTPUTS = f"""() => {CURRENT}.content.widgets.filter(cell => cell.model.type === 'code')
  .flatMap(cell => cell.model.outputs.toJSON())"""
ROW, COLUMN = 4, 9  # a 4 taken for a 9


def chromium():
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab with both notebooks, which ask for the models of smoke."""
    if not chromium():
        pytest.skip("no Chromium is installed (Debian, Ubuntu: apt-get install chromium)")
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    given = profiles.load(cli.parse(["--profile", "smoke", "--only", "01"]))[2]
    for path in (ROOT / "notebooks").glob("0[17]_*.ipynb"):
        book = nbformat.read(path, as_version=4)
        cell, = (cell for cell in book.cells if "parameters" in cell.metadata.get("tags", []))
        smoke = {**given[path.stem], "results": "../results"}
        cell.source += "\n" + "\n".join(f"{name} = {value!r}" for name, value in smoke.items())
        nbformat.write(book, folder / "notebooks" / path.name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | {"PYTHONPATH": str(ROOT), "WPGD_RUNS": str(folder / "runs"), "JUPYTER_PREFER_ENV_PATH": "1",
                        "JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTER_DATA_DIR": str(folder / "data"),
                        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")}
    words = ["--no-browser", f"--port={port}", "--IdentityProvider.token=", "--ServerApp.password=", "--allow-root",
             f"--ServerApp.root_dir={folder}", "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None",
             "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *words], env=env, stdout=log, stderr=log)
    try:
        for _ in range(480):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5)
                break
            except OSError:
                assert server.poll() is None, (folder / "log").read_text()[-2000:]
                time.sleep(0.25)
        yield f"http://127.0.0.1:{port}", folder
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def page(lab):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(180_000)
        yield page
        browser.close()


def run_all(page, lab, stem):
    """Open a notebook, run all its cells, and return their outputs."""
    page.goto(f"{lab[0]}/lab/tree/notebooks/{stem}.ipynb?reset")
    page.wait_for_function(f"() => window.jupyterapp && {CURRENT}?.content?.widgets?.length > 5")
    page.wait_for_function(f"() => {CURRENT}.sessionContext.session?.kernel?.status === 'idle'")
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    return finished(page)


def finished(page):
    found = page.evaluate(OUTPUTS)
    assert not [one for one in found if one["output_type"] == "error"], json.dumps(found)[-2000:]
    return found


def scroll_to(page, text):
    """Bring the cell that holds a text into view; returns its number."""
    index = page.evaluate(f"text => {CURRENT}.content.widgets.findIndex(cell => "
                          "cell.model.sharedModel.getSource().includes(text))", text)
    page.evaluate(f"async index => {{ {CURRENT}.content.activeCellIndex = index; "
                  f"await {CURRENT}.content.scrollToItem(index, 'start'); }}", index)
    return index


def text(outputs):
    return json.dumps([one.get("data", one.get("text")) for one in outputs])


def test_all_of_notebook_01_runs(page, lab):
    found = run_all(page, lab, "01_toy_boundaries")
    pictures = [one for one in found if "image/png" in one.get("data", {})]
    assert len(pictures) >= 7 and all(one["metadata"]["image/png"]["alt"] for one in pictures)
    assert "widget" not in text(found) and (lab[1] / "results" / "smoke" / "claims.csv").is_file()


def test_a_cost_is_changed_in_the_grid_of_notebook_07(page, lab):
    before = run_all(page, lab, "07_your_cost_matrix")
    assert not (lab[1] / "results" / "mine").exists()
    scroll_to(page, "display(grid(cost))")
    boxes, maps = page.locator(".widget-text input"), page.locator(".jp-OutputArea-output .jp-RenderedImage img")
    box = boxes.nth(10 * ROW + COLUMN)
    assert box.input_value() == "10" and boxes.nth(0).is_disabled()
    shown = page.locator(".widget-output img").first
    drawn = shown.get_attribute("src")
    box.fill("much")
    box.press("Enter")
    page.wait_for_selector("text=4 -> 9 = much")
    assert shown.get_attribute("src") == drawn and maps.count()
    box.fill("0.5")
    box.press("Enter")
    page.wait_for_selector("text=The cells below will use this matrix.")
    page.wait_for_function("drawn => document.querySelector('.widget-output img')?.src !== drawn", arg=drawn)
    scroll_to(page, "own = parameters.changed(")
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-below')")
    after = finished(page)
    assert "Not as in the profile smoke: my_pairs" in text(after)
    kept, = (lab[1] / "results" / "mine").iterdir()
    verdicts = [folder / "claims.csv" for folder in (lab[1] / "results" / "smoke", kept)]
    assert verdicts[0].read_text() != verdicts[1].read_text() and text(before) != text(after)

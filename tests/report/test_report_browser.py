"""Test the report in a real Chromium: on a desktop and a phone, light and dark, printed, by keyboard, with axe."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from imgrec.report.page import report as write
from imgrec.tables import command

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHARTS = [
    "curves-val-top1",
    "curves-val-loss",
    "curves-train-top1",
    "curves-train-loss",
    "cost",
    "calibration",
    "classes",
    "confusion",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs a Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # root cannot have one
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page about six runs on the digits, two of which fail."""
    folder = tmp_path_factory.mktemp("report")
    imgrec = str(Path(sys.executable).with_name("imgrec"))
    grid = ["-m", "experiment=demo", "trainer.max_epochs=3", "optimizer=sgd,adam", "loss=cross_entropy,mse", "seed=0,1"]
    done = subprocess.run([imgrec, "train", *grid], cwd=folder, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    hot = ["-m", "experiment=demo", "trainer.max_epochs=3", "optimizer=sgd", "optimizer.lr_scale=1e30", "seed=0,1"]
    failed = subprocess.run([imgrec, "train", *hot], cwd=folder, capture_output=True, text=True, timeout=400)
    assert failed.returncode == 1, failed.stderr
    made = subprocess.run([imgrec, "report", "outputs/demo"], cwd=folder, capture_output=True, text=True, timeout=100)
    assert (made.returncode, made.stdout, made.stderr) == (0, "page.html\n", "")
    return folder / "page.html"


@pytest.fixture(scope="module")
def wide_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page about forty kept records, with two scores, a baseline and one chart."""
    page = tmp_path_factory.mktemp("wide") / "page.html"
    asked: dict[str, Any] = {"split": None, "protocol": None, "where": []}
    request = command.request(scores="top1,ece", at="best", baseline=["optimizer=adam"], **asked)
    write([Path(__file__).parents[2] / "experiments/report/records"], request, page, published=None)
    return page


class Heard:
    """What a page says on its console, and asks of the network."""

    def __init__(self, page: Page) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))


def opened(browser: Browser, report: Path, *, width: int = 1280, scheme: str = "light") -> tuple[Page, Heard]:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    heard = Heard(page)
    page.goto(report.as_uri())
    page.wait_for_selector("body[data-drawn]", timeout=60_000)
    return page, heard


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_drawn_without_an_error_a_request_or_an_obstacle(
    browser: Browser, report: Path, width: int, scheme: str
) -> None:
    page, heard = opened(browser, report, width=width, scheme=scheme)
    for key in CHARTS:
        box = page.locator(f"#{key} svg").bounding_box()
        assert box is not None
        assert 250 <= box["width"] <= width, key
        assert page.locator(f"#{key} svg .role-mark path").count() > 0, key
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert heard.said == []
    assert heard.asked == [report.as_uri()]
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.close()


def test_a_click_on_a_heading_sorts_and_another_turns_the_order(browser: Browser, report: Path) -> None:
    page, _ = opened(browser, report)
    heading = page.locator("#runs-table th", has_text="test top1 %")
    scores = f"#runs-table td:nth-child({1 + heading.evaluate('heading => heading.cellIndex')})"
    for order in ("ascending", "descending"):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == order
        shown = [float(text) for text in page.locator(scores).all_inner_texts() if text != "–"]
        assert len(shown) == 8
        assert shown == sorted(shown, reverse=order == "descending")
    page.close()


def test_the_keyboard_alone_sorts_filters_and_chooses(browser: Browser, report: Path) -> None:
    page, _ = opened(browser, report)
    page.locator("#settings-table-filter").focus()
    page.keyboard.type("adam mse")
    assert page.locator("#settings-table tbody tr:visible").count() == 1
    assert page.locator("output[for=settings-table-filter]").inner_text() == "1 of 5 rows"
    page.keyboard.press("Tab")  # the table, which scrolls
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent").strip() == "loss"
    page.keyboard.press("Enter")
    assert page.locator("#settings-table th").first.get_attribute("aria-sort") == "ascending"
    before = page.locator("#confusion svg").inner_html()
    page.locator("#confusion-choice select").focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_function("before => document.querySelector('#confusion svg').innerHTML !== before", arg=before)
    page.close()


def test_dark_turns_the_ground_and_the_charts_inks(browser: Browser, report: Path) -> None:
    inks = {}
    for scheme in ("light", "dark"):
        page, _ = opened(browser, report, scheme=scheme)
        inks[scheme] = page.evaluate(
            "() => [getComputedStyle(document.body).backgroundColor,"
            " getComputedStyle(document.querySelector('#cost .role-axis-label text')).fill]"
        )
        page.close()
    assert inks["light"] == ["rgb(255, 255, 255)", "rgb(27, 31, 36)"]
    assert inks["dark"] == ["rgb(20, 23, 27)", "rgb(230, 233, 237)"]


def test_paper_has_dark_ink_whatever_the_screen_and_no_controls(browser: Browser, report: Path) -> None:
    page, _ = opened(browser, report, scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 36)"
    assert not page.locator("#runs-table-filter").is_visible()
    assert page.locator("#runs-table").is_visible()
    assert page.pdf().startswith(b"%PDF")
    page.close()


def test_failures_are_named_and_every_link_leads_to_a_run(browser: Browser, report: Path) -> None:
    page, _ = opened(browser, report)
    failures = page.locator("#failures + ul li").all_inner_texts()
    assert len(failures) == 2
    assert all("must be finite" in text for text in failures)
    links = page.locator("#runs-table a")
    assert links.count() == 10
    for number in range(links.count()):
        target = (report.parent / (links.nth(number).get_attribute("href") or "")).resolve()
        assert (target / "record.json").is_file()
    page.close()


def test_two_scores_with_their_differences_fit_a_desk_and_a_phone_says_that_it_scrolls(
    browser: Browser, wide_report: Path
) -> None:
    page, _ = opened(browser, wide_report)
    heading = page.locator("#settings-table th").last
    box = heading.bounding_box()
    assert box is not None
    assert heading.inner_text() == "seconds"
    assert box["x"] + box["width"] <= 1280
    assert not page.locator("#settings-table-hint").is_visible()
    page.set_viewport_size({"width": 390, "height": 900})
    page.wait_for_selector("#settings-table-hint", state="visible")
    table = page.locator("#settings-table").locator("..")
    table.evaluate("place => place.scrollLeft = 300")
    first = page.locator("#settings-table td").first.bounding_box()
    assert first is not None
    assert 0 <= first["x"] < 40, "the first column stays"
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_chart_is_saved_as_a_picture_of_either_kind(
    browser: Browser, wide_report: Path, tmp_path: Path, scheme: str
) -> None:
    page, heard = opened(browser, wide_report, scheme=scheme)
    for kind in ("SVG", "PNG"):
        with page.expect_download() as saved:
            page.get_by_role("button", name=f"Save Score against cost as {kind}").click()
        assert saved.value.suggested_filename == f"cost.{kind.lower()}"
        saved.value.save_as(tmp_path / f"cost.{kind}")
    drawn = (tmp_path / "cost.SVG").read_text("utf-8")
    assert drawn.startswith("<svg")
    assert "seconds a run" in drawn
    assert "inherit" not in drawn
    with Image.open(tmp_path / "cost.PNG") as picture:
        assert picture.format == "PNG"
        assert picture.width >= 500
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert page.locator("#cost svg").evaluate("svg => getComputedStyle(svg).backgroundColor") == "rgba(0, 0, 0, 0)"
    assert heard.said == []
    assert [url for url in heard.asked if not url.startswith("blob:")] == [wide_report.as_uri()]
    page.close()


def test_a_class_named_as_a_property_of_every_object_is_drawn(
    browser: Browser, report: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("named") / "run"
    (first, *_) = sorted((report.parent / "outputs/demo").glob("*seed-0*/diagnostics.json"))
    shutil.copytree(first.parent, folder)
    names = first.read_text().replace('"3"', '"constructor"').replace('"7"', '"__proto__"').replace('"1"', '"toString"')
    (folder / "diagnostics.json").write_text(names)
    imgrec = str(Path(sys.executable).with_name("imgrec"))
    subprocess.run([imgrec, "report", str(folder), "-o", str(folder / "page.html")], check=True, timeout=100)
    page, heard = opened(browser, folder / "page.html")
    assert page.locator("#confusion svg .role-mark path").count() > 0
    assert [line for line in heard.said if "rror" in line] == []

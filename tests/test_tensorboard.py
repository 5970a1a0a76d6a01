"""Test what a user sees of a sweep in TensorBoard: a real Chromium opens its tabs and reads the page."""

import contextlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, sync_playwright
from waiting import wait_until

from imgrec import records
from imgrec.records import Record

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTH, HEIGHT = 1280, 900
PATIENCE_S = 90.0

# every text that takes up room on the page, with its upper and lower edge; through shadow roots and frames
_TEXTS = """() => {
const found = [];
function walk(node) {
    if (node.nodeType === Node.TEXT_NODE) {
        const range = node.ownerDocument.createRange();
        range.selectNodeContents(node);
        const box = range.getBoundingClientRect();
        const text = node.data.trim();
        const {top, bottom, left, right, width} = box;
        if (text && width > 0) found.push({text, top, bottom, left, right});
    }
    if (node.shadowRoot) walk(node.shadowRoot);
    if (node.nodeName === "IFRAME" && node.contentDocument) walk(node.contentDocument);
    for (const child of node.childNodes) walk(child);
}
walk(document);
return found;
}"""


@dataclass(frozen=True)
class Text:
    """A piece of the page's text, and where it stands."""

    text: str
    top: float
    bottom: float
    left: float
    right: float

    def beside(self, other: "Text") -> bool:
        """Whether the middle of this one is at the height of the other."""
        return other.top <= (self.top + self.bottom) / 2 <= other.bottom

    @property
    def in_sight(self) -> bool:
        """Whether it lies on the screen, without a click and without scrolling."""
        return self.left >= 0 and self.right <= WIDTH and self.top >= 0 and self.bottom <= HEIGHT


class Browser:
    """A page of a headless Chromium."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def open(self, url: str) -> None:
        self._page.goto(url)

    def texts(self) -> list[Text]:
        return [Text(**found) for found in self._page.evaluate(_TEXTS)]

    def type_into(self, selector: str, text: str) -> None:
        self._page.locator(selector).fill(text)

    def wait_for(self, what: str, condition: Callable[[list[Text]], bool]) -> list[Text]:
        """The page's texts, as soon as the condition holds of them."""
        end = time.monotonic() + PATIENCE_S
        while not condition(texts := self.texts()):
            if time.monotonic() > end:
                picture = Path("page.png").resolve()
                self._page.screenshot(path=picture)
                pytest.fail(f"the page does not show {what}; see {picture}. It reads: {[text.text for text in texts]}")
            time.sleep(0.5)
        return texts


@contextlib.contextmanager
def _serving(command: list[str], log: Path, *, ready: str) -> Iterator[str]:
    """The address of a server while the block runs. command: `{port}` is filled in. ready: a path that it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with log.open("w") as file:
        process = subprocess.Popen([word.format(port=port) for word in command], stdout=file, stderr=file)
    try:

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(OSError):
                urllib.request.urlopen(address + ready, timeout=5).close()
                return True
            return False

        wait_until(answers, log=log, patience=PATIENCE_S, pause=0.2)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs a Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # root cannot have one
        yield Browser(chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT}))
        chromium.close()


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of four short runs."""
    folder = tmp_path_factory.mktemp("sweep")
    imgrec = str(Path(sys.executable).with_name("imgrec"))
    command = [imgrec, "train", "-m", "experiment=demo", "trainer.max_epochs=1", "optimizer=sgd,adam", "seed=0,1"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    return folder / "outputs" / "demo"


@pytest.fixture(scope="module")
def runs(sweep: Path) -> dict[str, Record]:
    """The runs' records, by the names of their folders."""
    found = {path.parent.name: records.read(path) for path in sweep.glob("*/record.json")}
    assert len(found) == 4
    return found


@pytest.fixture(scope="module")
def board(sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """TensorBoard's address, with the four runs loaded."""
    log = tmp_path_factory.mktemp("board") / "log"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(sweep), "--host=127.0.0.1", "--port={port}"]
    with _serving(command, log, ready="/data/runs") as address:
        yield address


@pytest.fixture(autouse=True)
def _pictures_go_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _value(record: Record, metric: str, split: str, at: str) -> float:
    """A score as TensorBoard stores it: in single precision."""
    score = record.score(metric, split=split, at=at)
    assert score is not None
    return float(np.float32(score.value))


def _row(texts: list[Text], name: str) -> set[str]:
    """All texts at the height of any place where the run is named."""
    places = [text for text in texts if text.text == name]
    return {text.text for text in texts if any(text.beside(place) for place in places)}


def test_the_hparams_tab_says_without_a_click_what_the_runs_differ_in_and_which_is_best(
    browser: Browser, board: str, runs: dict[str, Record]
) -> None:
    browser.open(f"{board}/#hparams")

    def seen(texts: list[Text]) -> list[set[str]]:
        """The texts in sight of each row that begins with a trial's name, which may be cut short."""
        names = [text for text in texts if text.in_sight and text.text in runs]
        return [{text.text for text in texts if text.in_sight and text.beside(name)} for name in names]

    wanted = [
        {record.config["optimizer.name"], f"{_value(record, 'top1', 'val', 'best'):#.5g}"} for record in runs.values()
    ]
    texts = browser.wait_for(
        "each run's optimizer beside its validation top1",
        lambda texts: all(any(row <= found for found in seen(texts)) for row in wanted),
    )
    head = {text.text for text in texts if text.in_sight}
    assert {"optimizer", "seed", "val top1 at best"} <= head
    everything = {text.text for text in texts}
    assert not everything & {"data", "loss", "experiment", "trainer.max_epochs", "hp_metric", "NaN"}
    assert "test top1 at best" in everything


def test_the_curves_of_the_runs_are_shown(browser: Browser, board: str, runs: dict[str, Record]) -> None:
    browser.open("about:blank")  # TensorBoard does not follow a changed fragment
    browser.open(f"{board}/#timeseries")

    def opens_on_them(texts: list[Text]) -> bool:
        seen = [text.text for text in texts if text.in_sight]
        return "1 validation" in seen and all(any(text.endswith(end) for text in seen) for end in ("loss", "top1"))

    texts = browser.wait_for("the validation's loss and top1 first", opens_on_them)
    assert not {"confusion", "mistakes"} & {text.text for text in texts if text.in_sight}, "pictures come later"
    names = {name: f"{name}/tensorboard" for name in runs}
    browser.wait_for("the runs", lambda texts: {text.text for text in texts} >= set(names.values()))
    browser.type_into("input[placeholder^='Filter tags']", "^val/(top1|loss)$")

    def complete(texts: list[Text]) -> bool:
        return all(
            f"{_value(record, metric, 'val', 'last'):.4f}".rstrip("0").rstrip(".") in _row(texts, names[name])
            for name, record in runs.items()
            for metric in ("top1", "loss")
        )

    browser.wait_for("every run's validation scores beside its name", complete)

"""What a user sees of a sweep in TensorBoard: a real Chromium opens its tabs and reads the page.

The browser is driven over chromedriver's HTTP interface (W3C WebDriver): https://www.w3.org/TR/webdriver2/
"""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import wait_until

from imgrec import records
from imgrec.records import Record

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",  # root cannot have one
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--window-size=1800,1200",
)
PATIENCE_S = 90.0

# every text that takes up room on the page, with its upper and lower edge; through shadow roots and frames
_TEXTS = """
const found = [];
function walk(node) {
    if (node.nodeType === Node.TEXT_NODE) {
        const range = node.ownerDocument.createRange();
        range.selectNodeContents(node);
        const box = range.getBoundingClientRect();
        const text = node.data.trim();
        if (text && box.width > 0) found.push({text, top: box.top, bottom: box.bottom});
    }
    if (node.shadowRoot) walk(node.shadowRoot);
    if (node.nodeName === "IFRAME" && node.contentDocument) walk(node.contentDocument);
    for (const child of node.childNodes) walk(child);
}
walk(document);
return found;
"""

# ticks the box in front of each of the names, where it is not ticked yet
_TICK = """
const names = arguments[0];
function walk(node) {
    if (node.nodeName === "PAPER-CHECKBOX" && names.includes(node.textContent.trim()) && !node.checked) node.click();
    if (node.shadowRoot) walk(node.shadowRoot);
    for (const child of node.childNodes) walk(child);
}
walk(document);
"""


@dataclass(frozen=True)
class Text:
    """A piece of the page's text, and where it stands."""

    text: str
    top: float
    bottom: float

    def beside(self, other: "Text") -> bool:
        """Whether the middle of this one is at the height of the other."""
        return other.top <= (self.top + self.bottom) / 2 <= other.bottom


class Browser:
    """A session of a headless Chromium."""

    def __init__(self, driver: str, profile: Path) -> None:
        self._driver = driver
        options = {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options}
        self._session = "/session/" + self._call("/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def open(self, url: str) -> None:
        self._call(f"{self._session}/url", {"url": url})

    def texts(self) -> list[Text]:
        return [Text(**found) for found in self._run(_TEXTS)]

    def tick(self, names: list[str]) -> None:
        self._run(_TICK, names)

    def type_into(self, selector: str, text: str) -> None:
        found = self._call(f"{self._session}/element", {"using": "css selector", "value": selector})
        (element,) = found.values()
        self._call(f"{self._session}/element/{element}/value", {"text": text})

    def wait_for(self, what: str, condition: Callable[[list[Text]], bool]) -> list[Text]:
        """The page's texts, as soon as the condition holds of them."""
        end = time.monotonic() + PATIENCE_S
        while not condition(texts := self.texts()):
            if time.monotonic() > end:
                picture = Path("page.png").resolve()
                picture.write_bytes(b64decode(self._call(f"{self._session}/screenshot")))
                pytest.fail(f"the page does not show {what}; see {picture}. It reads: {[text.text for text in texts]}")
            time.sleep(0.5)
        return texts

    def close(self) -> None:
        self._call(self._session, method="DELETE")

    def _run(self, script: str, *arguments: Any) -> Any:
        return self._call(f"{self._session}/execute/sync", {"script": script, "args": arguments})

    def _call(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._driver + path, data=data, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)["value"]


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
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs a Chromium: apt-get install chromium chromium-driver")
    folder = tmp_path_factory.mktemp("browser")
    driver = shutil.which("chromedriver")
    assert driver is not None, f"{CHROMIUM} is there, its chromedriver is not: apt-get install chromium-driver"
    with _serving([driver, "--port={port}"], folder / "log", ready="/status") as address:
        browser = Browser(address, folder / "profile")
        try:
            yield browser
        finally:
            browser.close()


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
    """The runs' records, by the names that TensorBoard gives them: their folders' paths."""
    found = {f"{path.parent.name}/tensorboard": records.read(path) for path in sweep.glob("*/record.json")}
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


def test_the_hparams_tab_compares_the_runs(browser: Browser, board: str, runs: dict[str, Record]) -> None:
    columns = {
        f"hp/{split}_{metric}_{at}": (metric, split, at)
        for metric in ("top1", "loss")
        for split in ("val", "test")
        for at in ("best", "last")
    }
    browser.open(f"{board}/#hparams")
    browser.wait_for("the runs", lambda texts: {text.text for text in texts} >= {*runs, *columns, "optimizer.name"})
    browser.tick([*columns, "optimizer.name", "seed"])

    def complete(texts: list[Text]) -> bool:
        return all(
            {f"{_value(record, *column):#.5g}" for column in columns.values()} <= _row(texts, name)
            and record.config["optimizer.name"] in _row(texts, name)
            for name, record in runs.items()
        )

    shown = {text.text for text in browser.wait_for("every run's scores in its row", complete)}
    assert {"optimizer.name", "optimizer.lr", "data.batch_size", "trainer.max_epochs", "seed"} <= shown
    assert "hp_metric" not in shown
    assert "NaN" not in shown


def test_the_curves_of_the_runs_are_shown(browser: Browser, board: str, runs: dict[str, Record]) -> None:
    browser.open("about:blank")  # TensorBoard does not follow a changed fragment
    browser.open(f"{board}/#timeseries")
    sections = {"confusion", "mistakes", "train", "val"}
    browser.wait_for("the runs and sections", lambda texts: {text.text for text in texts} >= {*runs, *sections})
    browser.type_into("input[placeholder^='Filter tags']", "^val/(top1|loss)$")

    def complete(texts: list[Text]) -> bool:
        return all(
            f"{_value(record, metric, 'val', 'last'):.4f}".rstrip("0").rstrip(".") in _row(texts, name)
            for name, record in runs.items()
            for metric in ("top1", "loss")
        )

    browser.wait_for("every run's validation scores beside its name", complete)

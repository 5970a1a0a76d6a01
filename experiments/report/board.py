"""Pictures of TensorBoard's HPARAMS and Time Series as they open: python experiments/report/board.py FOLDER.

FOLDER: of runs. Needs the dev tools and a Chromium. TensorBoard listens on this machine alone; nothing is clicked.
"""

import contextlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

TABS = ("hparams", "timeseries")
PATIENCE_S = 90.0
LOADED_S = 20.0  # for the charts to be drawn: TensorBoard says nowhere that it is done


def main(folder: Path) -> int:
    """Write a picture of each tab beside this script."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("board: needs a Chromium, and none was found: apt-get install chromium", file=sys.stderr)
        return 1
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    words = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--host=127.0.0.1", f"--port={port}"]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(address)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for tab in TABS:
                view = browser.new_page(viewport={"width": 1280, "height": 900})
                view.goto(f"{address}/#{tab}")
                time.sleep(LOADED_S)
                picture = Path(__file__).with_name(f"board-{tab}.png")
                view.screenshot(path=picture)
                Image.open(picture).convert("RGB").quantize(256).save(picture, optimize=True)
                view.close()
            browser.close()
    finally:
        server.terminate()
        server.wait(timeout=30)
    return 0


def _wait(address: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{address}/data/runs", timeout=5).close()
            return
        time.sleep(0.3)
    raise TimeoutError(f"TensorBoard must answer at {address} within {PATIENCE_S:.0f} s, and did not")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

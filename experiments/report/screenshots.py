"""Pictures of a report at a desk's and a phone's width, light and dark: python experiments/report/screenshots.py PAGE.

Needs the dev tools and a Chromium. Each picture is as long as the page, and lies beside this script.
"""

import shutil
import sys
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTHS = (1280, 390)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def main(page: Path) -> int:
    """Write the pictures."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("screenshots: needs a Chromium, and none was found: apt-get install chromium", file=sys.stderr)
        return 1
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for width in WIDTHS:
            for scheme in SCHEMES:
                view = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
                view.goto(page.resolve().as_uri())
                view.wait_for_selector("body[data-drawn]")
                picture = Path(__file__).with_name(f"report-{width}-{scheme}.png")
                view.screenshot(path=picture, full_page=True)
                Image.open(picture).convert("RGB").quantize(256).save(picture, optimize=True)
                view.close()
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

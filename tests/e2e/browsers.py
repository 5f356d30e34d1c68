"""A real browser as tests drive it: Chromium by playwright, and all that it complained of or asked elsewhere."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60_000
"""Milliseconds that anything here may take, many times what it takes."""
HOW = "the tests in a browser need Chromium; on Debian: apt-get install chromium"

CONTRAST = """() => {
  const number = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = (colour) => colour.slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = number(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const said = [...element.childNodes].filter((node) => node.nodeType === 3 && node.textContent.trim());
    if (!said.length || element.closest("svg, dialog, option") || !element.getClientRects().length) continue;
    const [one, two] = [light(number(getComputedStyle(element).color)), light(ground(element))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (two + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${element.tagName}: ${said[0].textContent.trim()}`);
  }
  return poor;
}"""
"""Texts whose contrast with what is behind them is below what WCAG AA asks for small ones."""

SHIFTS = """() => new Promise((done) => {
  let sum = 0;
  const add = (each) => { if (!each.hadRecentInput) sum += each.value; };
  new PerformanceObserver((list) => list.getEntries().forEach(add))
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 150);
})"""
"""How much of the page jumped while it was loading, as browsers count it."""


@dataclass(slots=True)
class Watch:
    """What a page said in its console, what failed in it, and what it asked of other hosts: nothing, it is hoped."""

    host: str
    complaints: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    asked: int = 0

    def follow(self, page: Page) -> None:
        page.on("console", lambda said: self.complaints.append(f"{page.url}: {said.text}"))
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.on("requestfailed", lambda request: self._note_failure(request))  # noqa: PLW0108
        page.on("request", lambda request: self._note(request))  # noqa: PLW0108  playwright would write to us

    def _note_failure(self, request: Request) -> None:
        """What is still on its way when a page is left is no failure."""
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"{request.url}: {request.failure}")

    def _note(self, request: Request) -> None:
        self.asked += 1
        if urlsplit(request.url).netloc != self.host:
            self.elsewhere.append(request.url)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's Chromium, without a window."""
    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if path is None:
        pytest.fail(HOW)
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def shoot(page: Page, folder: Path, name: str) -> None:
    """A picture of what is in the window."""
    page.screenshot(path=str(folder / f"{name}.png"))

"""Pages as tests read them: tags, texts and links by the standard parser."""

import html
import re
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "input", "br", "hr"}


class Page(HTMLParser):
    """What a page consists of: `tags` with their attributes, in order, and all `text`."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"{tag} ends within {self.open}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def links(self) -> list[str]:
        return [attributes["href"] for attributes in self.all("a") if "href" in attributes]

    def samples(self) -> list[str]:
        """The samples whose cards are shown, in order."""
        cards = [each["href"] for each in self.all("a") if each.get("class") == "whole"]
        return [html.unescape(re.split(r"[/?]", link)[2]) for link in cards]

    def relation(self, name: str) -> str | None:
        """Where the link with a relation leads."""
        return next((each["href"] for each in self.all("a") if each.get("rel") == name), None)

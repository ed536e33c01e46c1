"""Prints the links of a site of files that lead to nothing: python3 scripts/dead-links.py FOLDER"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page and the names to which others may link."""

    def __init__(self, path):
        super().__init__()
        self.links, self.names = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id":
                self.names.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def dead_links(folder):
    pages = {path.resolve(): Page(path) for path in folder.rglob("*.html")}
    for path, page in pages.items():
        # The page for a missing address, and one for printing, are shown under any address.
        if path.name in ("404.html", "print.html", "toc.html"):
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            # What follows the sign in an address of the planner's page is read by the page itself.
            named = "=" in parts.fragment or not parts.fragment or target not in pages
            if not target.exists() or not (named or unquote(parts.fragment) in pages[target].names):
                yield f"{path.relative_to(folder.resolve())}: {link}"


found = list(dead_links(Path(sys.argv[1])))
print("\n".join(found), end="\n" if found else "")
sys.exit(1 if found else 0)

"""Parts of a page that a script writes, between two comments: ``<!-- NAME: SCRIPT -->`` and ``<!-- end of NAME -->``."""

from __future__ import annotations


def fill(text: str, script: str, contents: dict[str, str]) -> str:
    """The page with these contents, by name, in the place of what stood there. Raises ValueError where a comment is missing."""
    for name, content in contents.items():
        start, end = f"<!-- {name}: {script} -->", f"<!-- end of {name} -->"
        before, rest = text.split(start)
        _, after = rest.split(end)
        text = f"{before}{start}\n{content}{end}{after}"
    return text

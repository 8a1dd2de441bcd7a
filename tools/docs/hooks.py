"""The hooks that MkDocs calls while it builds the site; mkdocs.yml names this file.

A page holds the line ``<!-- generated: NAME ARGUMENT -->`` where a part of it is made from the code. Links from pages
to other files of the repository become links inside the site.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tools.docs import links, reference

ROOT = Path(__file__).resolve().parents[2]
_GENERATED = re.compile(r"^<!-- generated: (\S+) (\S+) -->$", re.MULTILINE)
#: Comments state how a test runs the block below them. Readers of the site do not need them.
_COMMENT = re.compile(r"^ *<!-- .*? -->\n", re.MULTILINE)
#: A path as code in a line. Code in a block follows a ``<pre>`` or has elements for its colours.
_PATH = re.compile(r"(?<!<pre>)<code>([\w.:-]+/[\w./:-]+)</code>")
_SEPARATOR = re.compile(r"/|::")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of the repository that pages link to."""
    pages = {Path("docs") / file.src_uri: file.content_string for file in files.documentation_pages()}
    for path in links.linked(ROOT, pages):
        files.append(File.generated(config, links.place(path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the text of a page with its generated parts, and without comments."""
    generated = _GENERATED.sub(lambda match: reference.PARTS[match[1]](match[2]), markdown)
    return links.in_site(_COMMENT.sub("", generated), links.source(page.file.src_uri), ROOT)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the HTML of a page in which paths can break into lines at their separators."""
    return _PATH.sub(lambda match: match[0].replace(match[1], _SEPARATOR.sub(r"\g<0><wbr>", match[1])), html)

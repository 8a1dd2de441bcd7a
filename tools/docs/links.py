"""Links between pages of the site and other files of the repository.

In the repository, a link names a file by its path from the page, such as ``../SECURITY.md``. The site has such files
below ``project/``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

#: The folder of the site for files that are not below ``docs``.
FOLDER = "project"
_LINK = re.compile(r"(?<=\]\()([^)\s#]+)")
_CODE = re.compile(r"^( *)(```+).*?^\1\2$", re.MULTILINE | re.DOTALL)


def targets(text: str) -> list[str]:
    """Return where the links of a text lead, without those that name a place on the page or another site."""
    return [link for link in _LINK.findall(_CODE.sub("", text)) if not _is_external(link)]


def _is_external(link: str) -> bool:
    return "://" in link or link.startswith("mailto:")


def resolve(page: Path, link: str) -> Path:
    """Return the path in the repository of the target of a link."""
    return Path(os.path.normpath(page.parent / link))


def linked(root: Path, pages: Mapping[Path, str]) -> Iterator[Path]:
    """Yield each file outside of ``docs`` to which pages link, directly or through other pages.

    A link to a folder means its README.
    """
    waiting, seen = list(pages.items()), set(pages)
    while waiting:
        page, text = waiting.pop()
        for link in targets(text):
            path = _file(root, resolve(page, link))
            if path is None or path in seen or path.is_relative_to("docs"):
                continue
            seen.add(path)
            yield path
            if path.suffix == ".md":
                waiting.append((path, (root / path).read_text(encoding="utf-8")))


def _file(root: Path, path: Path) -> Path | None:
    """Return the file of a path: for a folder its README. Return None if there is no such file."""
    if (root / path).is_dir():
        path = path / "README.md"
    return path if (root / path).is_file() else None


def place(path: Path) -> str:
    """Return the path in the site of a file of the repository. MkDocs makes a README the index of its folder."""
    if path.is_relative_to("docs"):
        return path.relative_to("docs").as_posix()
    if path.name == "README.md" and path.parent == Path():
        return f"{FOLDER}/readme.md"
    return f"{FOLDER}/{path.as_posix().removeprefix('.')}"


def source(uri: str) -> Path:
    """Return the path in the repository of a page of the site."""
    path = PurePosixPath(uri)
    if path.parts[0] != FOLDER:
        return Path("docs") / path
    return Path("README.md") if uri == f"{FOLDER}/readme.md" else Path(*path.parts[1:])


def in_site(text: str, page: Path, root: Path) -> str:
    """Return the text of a page whose links to other files of the repository lead to their places in the site."""
    code = [match.span() for match in _CODE.finditer(text)]

    def moved(match: re.Match[str]) -> str:
        if _is_external(match[1]) or any(start <= match.start() < end for start, end in code):
            return match[1]
        path = _file(root, resolve(page, match[1]))
        return match[1] if path is None else os.path.relpath(place(path), os.path.dirname(place(page)))

    return _LINK.sub(moved, text)

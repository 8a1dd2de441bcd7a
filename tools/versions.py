"""The release's version, and the files that repeat it.

`flowcluster_api.__version__` is the one place where the version is written. The wheel, the command line and the
operator's default image read it there; ``make generate`` writes it into the files that cannot.
"""

from __future__ import annotations

import re

from flowcluster_api import __version__

_RELEASE = r"\d+\.\d+\.\d+"
#: Places in documents that name the release: the charts' archives, and the project's images.
_MENTIONS = re.compile(rf"\b(flowcluster-(?:shared-)?(?={_RELEASE}\.tgz)|flowcluster/(?:operator|runtime):){_RELEASE}")
_CHART_FIELDS = re.compile(r"^(version: |appVersion: )(.+)$", re.MULTILINE)


def release() -> str:
    """Return the version of this checkout.

    Raises:
        ValueError: It is not three numbers. Helm refuses Python's other forms, such as 1.0.0rc1.
    """
    if not re.fullmatch(_RELEASE, __version__):
        raise ValueError(f"flowcluster_api.__version__ is {__version__!r}: write MAJOR.MINOR.PATCH, such as 0.1.0")
    return __version__


def in_chart(text: str, version: str) -> str:
    """Return the text of a Chart.yaml with `version` as the chart's version and its appVersion.

    Raises:
        ValueError: The text does not have each of the two fields once.
    """
    fields = {"version: ": version, "appVersion: ": f'"{version}"'}
    found = [match[1] for match in _CHART_FIELDS.finditer(text)]
    if sorted(found) != sorted(fields):
        raise ValueError(f"Chart.yaml must have version and appVersion once each, not {found}")
    return _CHART_FIELDS.sub(lambda match: match[1] + fields[match[1]], text)


def in_document(text: str, version: str) -> str:
    """Return a document's text with `version` in each name of the chart's archive and of an image of the project."""
    return _MENTIONS.sub(lambda match: match[1] + version, text)

from __future__ import annotations

import datetime as dt

import yaml

from tools.chart_lock import lock_text

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
CHART = """\
apiVersion: v2
name: parent
version: 1.0.0
dependencies:
  - name: first
    version: 1.2.3
    repository: https://charts.example.com/
    condition: first.enabled
    tags: [front-end]
    import-values: [data]
    alias: renamed
  - name: second
    version: 4.5.6
    repository: ""
"""
#: What the HashReq of helm 3.19.0 gives for this chart.
DIGEST = "sha256:e7f789466e8f1d5f1b73a41faa89593bdfed805a1833c2346ee171f99e793e33"


def test_lock_has_the_digest_that_helm_computes() -> None:
    lock = yaml.safe_load(lock_text(CHART, now=NOON))

    assert lock["digest"] == DIGEST


def test_lock_lists_name_repository_and_version_of_each_dependency() -> None:
    lock = yaml.safe_load(lock_text(CHART, now=NOON))

    assert lock["dependencies"] == [
        {"name": "first", "repository": "https://charts.example.com/", "version": "1.2.3"},
        {"name": "second", "repository": "", "version": "4.5.6"},
    ]


def test_lock_keeps_its_time_when_the_dependencies_are_the_same() -> None:
    written = lock_text(CHART, now=NOON)

    assert lock_text(CHART, written, NOON + dt.timedelta(days=1)) == written


def test_lock_is_replaced_when_a_dependency_changes() -> None:
    written = lock_text(CHART, now=NOON)

    changed = yaml.safe_load(lock_text(CHART.replace("1.2.3", "1.2.4"), written, NOON))

    assert changed["digest"] != DIGEST
    assert changed["dependencies"][0]["version"] == "1.2.4"

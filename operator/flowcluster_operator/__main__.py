"""Start the operator: ``python -m flowcluster_operator``."""

from __future__ import annotations

import logging
import os
import sys

import kopf

from flowcluster_operator.handlers import Operator, register
from flowcluster_operator.settings import Settings, SettingsError


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        sys.exit(f"flowcluster-operator: {error}")
    kopf.configure(verbose=False, log_format=kopf.LogFormat.PLAIN)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("flowcluster_operator").info("serving %s", settings.namespace or "all namespaces")
    registry = kopf.OperatorRegistry()
    register(registry, Operator(settings))
    kopf.run(
        registry=registry,
        standalone=True,
        clusterwide=not settings.namespace,
        namespaces=[settings.namespace] if settings.namespace else [],
        liveness_endpoint=settings.liveness_endpoint or None,
    )


if __name__ == "__main__":
    main()

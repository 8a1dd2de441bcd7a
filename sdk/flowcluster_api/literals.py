"""Text that a container must get as it is."""

from __future__ import annotations


def literal(text: str) -> str:
    """Return `text` as it must be written in `env`, `args` or `command` of a container.

    The kubelet expands ``$(NAME)`` there, and replaces ``$$`` by ``$``: see
    https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/.
    """
    return text.replace("$", "$$")

"""Escaping for text in a container's fields."""

from __future__ import annotations


def literal(text: str) -> str:
    """Escape `text` so that the container gets it unchanged from its `env`, `args` or `command`.

    The kubelet expands ``$(NAME)`` in these fields, and replaces ``$$`` by ``$``: see
    https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/.
    """
    return text.replace("$", "$$")

"""Flows for `flowcluster submit`: one that can be submitted, and one in a class, which cannot."""

from flowcluster import flow

print("imported")


class Namespace:
    @flow
    def inner() -> None:
        pass


@flow
def greetings(names: list[str], tag: str = "") -> list[str]:
    return names

"""The command line: ``python -m tools.cluster COMMAND``. Results on stdout, progress on stderr."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from tools.cluster import api
from tools.cluster.errors import ToolError
from tools.cluster.images.spec import INSTALLED, SPECS
from tools.cluster.onenode.cluster import OneNode
from tools.cluster.onenode.layout import DEFAULT_NAME
from tools.cluster.providers.base import Provider, Status
from tools.cluster.providers.choose import ENV_CONTEXT, ENV_KUBECONFIG, KINDS, choose


def main(arguments: list[str] | None = None) -> int:
    """Run one command, and return 0 for success, 1 for a failure, and 2 for a wrong command line."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except ToolError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    if options.command == "tool":
        print(api.tool(options.tool))
        return 0
    if options.command == "images":
        images = api.build_images(options.only)
        loaded = api.load(_provider(options), images.values()) if options.load else [i.ref for i in images.values()]
        print(json.dumps(dict(zip(images, loaded, strict=True))))
        return 0
    return _run_on(_provider(options), options)


def _provider(options: argparse.Namespace) -> Provider:
    return choose(options.name, provider=options.provider, kubeconfig=options.kubeconfig, context=options.context)


def _run_on(provider: Provider, options: argparse.Namespace) -> int:
    if options.command == "up":
        provider.up()
    elif options.command == "down":
        provider.down(purge=options.purge)
    elif options.command == "kubeconfig":
        print(provider.kubeconfig())
    elif options.command == "restart":
        if not isinstance(provider, OneNode):
            raise ToolError(f"restart: only the one-node cluster can do that, not {provider.kind}")
        provider.restart(options.process)
    elif options.command == "enforce":
        api.enforce_policies(provider, options.policies == "on")
    elif options.command == "load-image":
        api.load(provider, [image for text in options.image for image in api.find_image(text)])
    elif options.command == "status":
        return _status(provider, as_json=options.json)
    return 0


def _status(provider: Provider, *, as_json: bool) -> int:
    """Print the status, and return 0 if the cluster is ready, else 1."""
    status = provider.status()
    if as_json:
        print(json.dumps(dataclasses.asdict(status), indent=2, default=str))
    else:
        print(_text(status))
    return 0 if status.ready else 1


def _text(status: Status) -> str:
    lines = [
        f"provider    {status.provider}",
        f"name        {status.name}",
        f"state       {'ready' if status.ready else 'not ready'}: {status.detail}",
        f"kubeconfig  {status.kubeconfig or '-'}",
        f"audit log   {status.audit_log or '-'}",
    ]
    lines += [
        f"process     {process.name}, {f'pid {process.pid}' if process.pid else f'ended ({process.ended})'}"
        for process in status.processes
    ]
    return "\n".join(lines)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--name", default=DEFAULT_NAME, help="the cluster's name (default: %(default)s)")
    shared.add_argument("--provider", default="", choices=KINDS, help="override the choice of a provider")
    shared.add_argument("--kubeconfig", type=Path, help=f"use the cluster of this file (or ${ENV_KUBECONFIG})")
    shared.add_argument("--context", default="", help=f"use the cluster of this context (or ${ENV_CONTEXT})")

    parser = argparse.ArgumentParser(
        prog="python -m tools.cluster",
        description="Bring up a Kubernetes for tests and benchmarks, build the project's images and load them.",
        epilog="A cluster is chosen in this order: an explicit kubeconfig or context, kind where a Docker engine "
        "answers, a real one-node Kubernetes on this machine (Linux, root). $KUBECONFIG alone is never used.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", parents=[shared], help="start the cluster, unless it runs")
    down = commands.add_parser("down", parents=[shared], help="remove the cluster")
    down.add_argument("--purge", action="store_true", help="also remove the images that are kept for the next start")
    status = commands.add_parser("status", parents=[shared], help="provider, node, processes, audit log")
    status.add_argument("--json", action="store_true", help="for programs")
    restart = commands.add_parser("restart", parents=[shared], help="kill one process of the node and start it again")
    restart.add_argument("process", metavar="PROCESS", help="as `status` lists it, such as kube-apiserver")
    enforce = commands.add_parser("enforce", parents=[shared], help="enforce NetworkPolicies, or stop that")
    enforce.add_argument("policies", choices=("on", "off"))
    commands.add_parser("kubeconfig", parents=[shared], help="print the path of the kubeconfig")
    images = commands.add_parser(
        "images", parents=[shared], help="build the images; prints names and references as JSON"
    )
    images.add_argument("--only", type=_names, default=INSTALLED, help=f"some of {','.join(SPECS)}")
    images.add_argument("--load", action="store_true", help="load them into the cluster too")
    load = commands.add_parser("load-image", parents=[shared], help="load images into the cluster")
    load.add_argument("image", nargs="+", metavar="REF|ARCHIVE", help="an image built here, or an archive file")
    tool = commands.add_parser("tool", help="print the path of kubectl or helm")
    tool.add_argument("tool", metavar="NAME", help="kubectl or helm")
    return parser


if __name__ == "__main__":
    sys.exit(main())

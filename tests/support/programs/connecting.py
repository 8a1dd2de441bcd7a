"""Connect to each target of the command line, `[["HOST", PORT], ...]`, and print the outcomes."""

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

#: A packet that a policy drops is sent again after one second. One that is not dropped is answered within milliseconds.
TIMEOUT_SECONDS = 2.5


def connect(target: tuple[str, int]) -> str:
    """Return ``open``, ``closed`` (the pod answers, and no process listens), or ``no answer``."""
    try:
        socket.create_connection(target, TIMEOUT_SECONDS).close()
    except ConnectionRefusedError:
        return "closed"
    except TimeoutError:
        return "no answer"
    return "open"


if __name__ == "__main__":
    targets = [tuple(target) for target in json.loads(sys.argv[1])]
    with ThreadPoolExecutor(len(targets)) as pool:
        print(json.dumps(list(pool.map(connect, targets))))

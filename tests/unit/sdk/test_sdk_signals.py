"""SIGTERM during flow runs."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import asyncio, os, signal
from flowcluster import flow

started = []

@flow
async def short():
    return "ended before"

@flow
async def long(number):
    started.append(number)
    if len(started) == 3:
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(60)

async def outcome(flow_call):
    try:
        return await flow_call
    except BaseException as error:
        return type(error).__name__

async def after(first, flow_call):
    await first
    return await outcome(flow_call)

async def main():
    first = asyncio.create_task(outcome(short()))
    others = [after(first, long(number)) for number in range(2)]
    print(await asyncio.gather(first, outcome(long(2)), *others))
    print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)

asyncio.run(main())
"""


def test_sigterm_cancels_all_flows_of_a_loop_when_the_first_has_ended() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=40)

    assert ended.stdout.splitlines() == ["['ended before', 'Terminated', 'Terminated', 'Terminated']", "True"], (
        ended.stderr
    )

"""Break the operator's connection and the operator itself, at every write of a run's life, and compare.

Each trial has one fault, and a namespace, an operator and a bystander that no other trial uses then. Its name is
SCENARIO/KIND/FAULT, such as ``success/Dask/kill-after@POST-jobs``: SIGKILL after the operator has created the Job. All
trials are checked by what the API server shows: the end of the record, what is left, what was created and deleted, and
the bystander. The operator's output must not hold a traceback.
"""

from __future__ import annotations

import argparse
import pathlib
import shutil
import sys
import time

from tests.support.chaos.plan import chosen_lives, chosen_trials, plan
from tests.support.chaos.report import Judged, table
from tests.support.chaos.suite import AT_A_TIME, Suite
from tests.support.rig.rig import Rig
from tests.support.world import ROOT

#: Data and logs of the last rig.
_FOLDER = ROOT / "build" / "chaos"
_SEED = 20261126
#: `make chaos` also runs tests of the CRD, for five minutes.
_MINUTES = 50.0
#: How often a trial is tried again whose fault did not happen.
_FURTHER_TRIES = 2


def main() -> int:
    """Run the chosen trials, and return 0 when none failed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trials", nargs="*", metavar="TRIAL", help="names or patterns, such as 'scaling/*/refuse-*'")
    parser.add_argument(
        "--minutes", type=float, default=_MINUTES, help="start no trial after that (default %(default)g)"
    )
    parser.add_argument("--seed", type=int, default=_SEED, help="fixes the order of trials (default %(default)s)")
    parser.add_argument("--at-a-time", type=int, default=AT_A_TIME, help="trials side by side (default %(default)s)")
    parser.add_argument("--all", action="store_true", help="also run the trials that are equivalent to another one")
    parser.add_argument("--undisturbed", action="store_true", help="run lives without faults only")
    parser.add_argument("--operator", metavar="CHECKOUT", type=_folder, help="try the operator of another checkout")
    options = parser.parse_args()
    try:
        lives = chosen_lives(options.trials)
    except ValueError as error:
        parser.error(str(error))
    began = time.monotonic()
    until = began + 60 * options.minutes
    shutil.rmtree(_FOLDER, ignore_errors=True)
    with Rig(_FOLDER) as rig:
        _print(f"the rig is up after {rig.start_seconds:.1f} s; logs: {rig.folder}")
        suite = Suite(rig, lambda judged: _print(_line(judged, suite)), options.at_a_time, options.operator)
        try:
            suite.run_references(lives)
            planned = plan({life: suite.references[life] for life in lives}, options.seed)
            is_whole = options.all or options.trials
            trials = chosen_trials(options.trials, planned.all() if is_whole else planned.unlike)
            _print(f"{len(trials)} trials, {options.at_a_time} at a time, in the order of seed {options.seed}")
            _print(f"{planned}; {time.monotonic() - began:.0f} s so far")
            if not options.undisturbed:
                suite.run(trials, until)
                for _ in range(_FURTHER_TRIES):
                    if time.monotonic() < until:
                        suite.run(suite.take_missed(), until)
        finally:
            suite.close()
        seconds = time.monotonic() - began
        _print(f"{len(suite.judged)} trials in {seconds:.0f} s, {3600 * len(suite.judged) / seconds:.0f} an hour")
        _print(_cpu_seconds(rig))
    _print(table(suite.judged, len(suite.references) + (0 if options.undisturbed else len(trials))))
    return 1 if any(one.problems for one in suite.judged) else 0


def _folder(text: str) -> pathlib.Path:
    return pathlib.Path(text).resolve()


def _line(judged: Judged, suite: Suite) -> str:
    return f"{len(suite.judged):4}  {judged.text()}"


def _cpu_seconds(rig: Rig) -> str:
    """Return the CPU seconds, which limit the number of simultaneous trials."""
    used = {process.name: process.cpu_seconds() for process in rig.processes.values()}
    used |= {"these tests": time.process_time(), "operators": rig.nursery.cpu_seconds()}
    return "CPU seconds: " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in used.items())


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

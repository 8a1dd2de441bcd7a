"""Keeping a result that is too large for the run's record, in the storage that the one who submitted the run named."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping

from flowcluster import states
from flowcluster.cli.problems import Problem
from flowcluster.states import State
from flowcluster.storage import ENV_STORAGE, Storage, result_name, shown
from flowcluster_api import driver as api
from flowcluster_api.driver import Outcome

logger = logging.getLogger("flowcluster.results")

#: Characters that the URL may have: it has to fit into the outcome.
_URL_LIMIT = 1024


class Keeper:
    """Where the result of one run goes if its record cannot hold it."""

    def __init__(self, url: str, name: str) -> None:
        self._storage, self._name = Storage(url), name
        self._secret, self._url = url, f"{shown(url)}/{name}"

    def kept(self, outcome: Outcome, state: State) -> Outcome:
        """The outcome, which tells where the result is now, or that it could not be kept: then the run has failed."""
        try:
            logger.info("Writing the result to %s", self._url)
            self._storage.keep(self._name, state.result())
        except Exception as error:
            cause = states.describe(error).replace(self._secret, shown(self._secret))
            message = f"The flow completed, and its result could not be written to {self._url}: {cause}"
            return dataclasses.replace(
                outcome,
                state="Failed",
                reason="ResultNotStored",
                message=message,
                exit_code=api.EXIT_FAILED,
            )
        return dataclasses.replace(outcome, result_url=self._url, result_omitted=None)


def keeper_of(environment: Mapping[str, str]) -> Keeper | None:
    """The keeper of a run that the operator started; None if no storage was named.

    Raises `Problem` for a storage that cannot be used, before the flow has begun.
    """
    url, uid = environment.get(ENV_STORAGE), environment.get(api.ENV_RUN_UID)
    if not url or not uid:
        return None
    if len(url) > _URL_LIMIT:
        raise Problem("InvalidResultStorage", f"{ENV_STORAGE} has more than {_URL_LIMIT} characters.")
    try:
        return Keeper(url, result_name(environment[api.ENV_NAMESPACE], environment[api.ENV_RUN_NAME], uid))
    except ValueError as error:
        raise Problem("InvalidResultStorage", str(error)) from None

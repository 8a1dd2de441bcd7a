"""Storing a result that is too large for the FlowRun, in the storage that the submission named."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping

from flowcluster import states
from flowcluster._util.storage import ENV_STORAGE, Storage, result_name, shown
from flowcluster.cli.startup_error import StartupError
from flowcluster.states import State
from flowcluster_api import driver as api
from flowcluster_api.driver import Outcome

logger = logging.getLogger("flowcluster.results")

#: Maximum characters of the URL: it must fit into the outcome.
_URL_LIMIT = 1024


class ResultStore:
    """Where the result of one run is stored if the FlowRun cannot hold it.

    Args:
        url: fsspec URL of the storage.
        name: of the file.
    """

    def __init__(self, url: str, name: str) -> None:
        self._storage, self._name = Storage(url), name
        self._secret, self._url = url, f"{shown(url)}/{name}"

    def store(self, outcome: Outcome, state: State) -> Outcome:
        """Write the result to the storage.

        Args:
            outcome: the outcome of the run.
            state: the final state, with the result.

        Returns:
            The outcome with the URL of the result; a failure if the result could not be written.
        """
        try:
            logger.info("Writing the result to %s", self._url)
            self._storage.write_result(self._name, state.result())
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


def result_store_of(environment: Mapping[str, str]) -> ResultStore | None:
    """Return the store of a run that the operator started; None if no storage was named.

    Raises:
        StartupError: the storage cannot be used.
    """
    url, uid = environment.get(ENV_STORAGE), environment.get(api.ENV_RUN_UID)
    if not url or not uid:
        return None
    if len(url) > _URL_LIMIT:
        raise StartupError("InvalidResultStorage", f"{ENV_STORAGE} has more than {_URL_LIMIT} characters.")
    try:
        return ResultStore(url, result_name(environment[api.ENV_NAMESPACE], environment[api.ENV_RUN_NAME], uid))
    except ValueError as error:
        raise StartupError("InvalidResultStorage", str(error)) from None

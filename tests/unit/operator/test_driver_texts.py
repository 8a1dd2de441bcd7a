"""Whatever a driver leaves behind, the operator can write its end down."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flowcluster_api import lease as leases
from flowcluster_api.v1alpha1 import FlowRunStatus
from flowcluster_operator.model.heartbeat import DriverHeartbeat
from tests.support.makers import cluster, deployment, ended, lease, observed, pod, spec
from tests.support.plans import CHILDREN, READY_PODS, condition, settled, started
from tests.support.strategies import CLEAN_TEXT, json_values

LONG = st.tuples(CLEAN_TEXT, st.integers(0, 500)).map(lambda drawn: drawn[0] * drawn[1]).map(lambda text: text[:9000])
VALUES = json_values() | LONG | st.sampled_from([-(2**70), -1, 2**31, 2**63, 2**70])
OUTCOMES = st.fixed_dictionaries(
    {"state": st.sampled_from(["Completed", "Failed", "Crashed", "Cancelled"])},
    optional=dict.fromkeys(["reason", "message", "exitCode", "tasks", "result", "resultUrl", "resultOmitted"], VALUES),
).map(json.dumps)


def assert_admitted(status: dict[str, Any]) -> None:
    """The CRD admits the status: it has the limits of the models."""
    FlowRunStatus.model_validate(status)
    json.dumps(status).encode()


@given(LONG | OUTCOMES, st.integers(0, 255), st.sampled_from(["Error", "Completed", "OOMKilled", "StartError", ""]))
def test_end_of_a_pod_can_be_written_whatever_its_driver_left(text: str, code: int, reason: str) -> None:
    driver = pod("driver", ended(code, text, reason), phase="Failed")
    status = settled(observed(status=started(), pods=[*READY_PODS, driver], **CHILDREN))

    assert condition(status, "Finished")["status"] == "True"
    assert_admitted(status)


@given(OUTCOMES)
def test_end_of_a_driver_elsewhere_can_be_written_for_every_text_in_its_lease(text: str) -> None:
    signs = leases.read({"metadata": {"annotations": {leases.ANNOTATION_OUTCOME: text}}, "spec": {}})
    driver = DriverHeartbeat("laptop", signs.outcome, 1, 0)
    children = {"cluster": cluster(), "deployments": (deployment(),), "lease": lease("laptop")}
    status = settled(observed(spec(flow=False), status=started(), pods=READY_PODS, driver=driver, **children))

    assert condition(status, "Finished")["status"] == "True"
    assert_admitted(status)

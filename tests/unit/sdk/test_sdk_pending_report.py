"""When the next renewal of a Lease is urgent, and what it reports."""

from __future__ import annotations

import asyncio

import pytest

from flowcluster.agent.pending_report import PendingReport
from flowcluster_api.lease import Demand


def test_first_renewal_is_not_urgent_and_reports_no_demand() -> None:
    report = PendingReport()

    assert not report.is_urgent
    with report.sending() as demand:
        assert demand is None


def test_renewal_is_urgent_only_when_the_demand_changes() -> None:
    report = PendingReport()
    report.publish(Demand(1))
    assert report.is_urgent
    with report.sending() as demand:
        assert demand == Demand(1)
    report.publish(Demand(1))

    assert not report.is_urgent


@pytest.mark.parametrize("change", [lambda report: report.wake(), lambda report: report.publish(Demand(1))])
def test_change_during_a_renewal_makes_another_one_urgent(change: object) -> None:
    assert callable(change)
    report = PendingReport()
    report.wake()
    with report.sending():
        change(report)

    assert report.is_urgent


@pytest.mark.parametrize("is_urgent", [True, False])
def test_failed_renewal_stays_as_urgent_as_it_was(is_urgent: bool) -> None:
    report = PendingReport()
    if is_urgent:
        report.publish(Demand(1))
    with pytest.raises(KeyError), report.sending():
        raise KeyError

    assert report.is_urgent is is_urgent


def test_wait_ends_when_a_renewal_becomes_urgent() -> None:
    async def wait() -> None:
        report = PendingReport()
        asyncio.get_running_loop().call_soon(report.wake)
        await report.wait(3600)
        assert report.is_urgent

    asyncio.run(wait())


def test_wait_ends_after_its_time_without_an_urgent_renewal() -> None:
    async def wait() -> None:
        report = PendingReport()
        await report.wait(0.001)
        assert not report.is_urgent

    asyncio.run(wait())

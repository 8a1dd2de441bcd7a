"""Lives of runs and shared clusters, as sequences of the operator's writes, for tests of the chaos plan."""

from __future__ import annotations

from flowcluster_api import names
from tests.support.chaos.classes import Call
from tests.support.chaos.life import Result
from tests.support.chaos.plan import Life, plan
from tests.support.rig.faults import Fault, FaultKind
from tests.support.rig.owners import Owner
from tests.support.rig.writes import Write

RUN, NEXT_RUN, SHARED = Owner(names.KIND, "1"), Owner(names.KIND, "2"), Owner(names.SHARED_KIND, "3")
CLUSTERS = {"Dask": "daskclusters", "Ray": "rayclusters"}
AT_EACH_WRITE = set(FaultKind) - {FaultKind.NONE, FaultKind.STALE_LISTS, FaultKind.REFUSE}
#: Writes in words, each with its owner: a method and a resource, or ``PUT`` and the phase and reason of a status.
Course = list[tuple[Owner, str]]


def course(owner: Owner, *words: str) -> Course:
    """Return writes for one owner, such as ``POST jobs`` or ``PUT Running FlowRunning``."""
    return [(owner, word) for word in words]


def written(writes: Course) -> tuple[Write, ...]:
    """Return the writes as the proxy records them."""
    found = []
    for number, (owner, word) in enumerate(writes, 1):
        method, _, rest = word.partition(" ")
        plural, _, reason = rest.partition(" ")
        owners = "sharedclusters" if owner.kind == names.SHARED_KIND else "flowruns"
        path, about = f"/apis/x/v1/namespaces/n/{plural}", reason
        if method == "PUT":
            path, about = f"/apis/x/v1/namespaces/n/{owners}/subject/status", rest
        found.append(Write(number, method, path, 200, float(number), about, owner=owner))
    return tuple(found)


def life(scenario: str, *courses: Course, kind: str = "Dask") -> dict[Life, Result]:
    """Return a life with its undisturbed result."""
    writes = written([write for one in courses for write in one])
    return {Life(scenario, kind): Result(scenario, kind, Fault(), writes=writes)}


def begin(kind: str, owner: Owner = RUN) -> Course:
    """Return the start of a run up to its cluster."""
    ahead = ("serviceaccounts", "configmaps", "networkpolicies", "secrets", CLUSTERS[kind], "jobs", "roles")
    posts = [f"POST {plural}" for plural in ("leases", *ahead)]
    return course(owner, "PUT Starting Waiting", "POST events Creating", *posts)


def start(kind: str, owner: Owner = RUN) -> Course:
    """Return the start of a run until it runs."""
    running = course(owner, "POST rolebindings", "PUT Running FlowRunning", "POST events FlowRunning")
    return begin(kind, owner) + running


def guest() -> Course:
    """Return the start of a run on a shared cluster."""
    posts = ("leases", "serviceaccounts", "configmaps", "networkpolicies", "jobs", "roles", "rolebindings")
    return course(
        RUN, "PUT Starting Waiting", "POST events Creating", *(f"POST {plural}" for plural in posts),
        "PUT Running FlowRunning", "POST events FlowRunning",
    )  # fmt: skip


def finish(reason: str, phase: str, owner: Owner = RUN) -> Course:
    """Return the end of a run."""
    return course(owner, f"PUT Stopping {reason}", f"POST events {reason}", "DELETE leases", f"PUT {phase} {reason}")


def start_shared(kind: str) -> Course:
    """Return the start of a shared cluster."""
    groups = ("daskworkergroups",) if kind == "Dask" else ()
    posts = ("leases", "networkpolicies", "secrets", CLUSTERS[kind], "serviceaccounts", "roles", *groups, "deployments")
    return course(
        SHARED, "PUT Starting Creating", "POST events Creating", *(f"POST {plural}" for plural in posts),
        "POST rolebindings", "PATCH leases", "PUT Ready ClusterUsable", "POST events ClusterUsable",
    )  # fmt: skip


def swept(kind: str, owner: Owner) -> Course:
    """Return the deletions for an owner that its user deletes."""
    deleted = ("leases", CLUSTERS[kind], "roles", "rolebindings", "serviceaccounts", "replicasets", "pods")
    return course(owner, *(f"DELETE {plural}" for plural in deleted))


def all_lives() -> dict[Life, Result]:
    """Return all lives of `make chaos`, with the writes that an operator makes in them."""
    found: dict[Life, Result] = {}
    for kind in CLUSTERS:
        scaled = ["PATCH daskclusters", "DELETE deployments", "DELETE deployments"] if kind == "Dask" else []
        groups = ["PATCH daskworkergroups"] if kind == "Dask" else []
        use = [*start_shared(kind), *guest(), *course(SHARED, "PATCH leases", *scaled, *groups)]
        lives: dict[str, Course] = {
            "success": [*start(kind), *finish("Succeeded", "Succeeded")],
            "failure": [*start(kind), *finish("FlowFailed", "Failed")],
            "cancel": [*start(kind), *finish("Cancelled", "Cancelled")],
            "delete-starting": [*begin(kind), *swept(kind, RUN)],
            "delete-running": [*start(kind), *swept(kind, RUN)],
            "recreate": [*start(kind), *swept(kind, RUN), *start(kind, NEXT_RUN)],
            "suspend-resume": [
                *start(kind), *course(RUN, "PUT Suspended Suspended", "POST events Suspended", "DELETE leases"),
                *start(kind), *finish("Succeeded", "Succeeded"),
            ],
            "expiry": [*start(kind), *finish("Succeeded", "Succeeded"), *course(RUN, "DELETE flowruns")],
            "scaling": [*start(kind), *course(RUN, *scaled), *finish("Succeeded", "Succeeded")],
            "shared-use": [*use, *finish("Succeeded", "Succeeded"), *swept(kind, SHARED)],
            "shared-suspend": [
                *start_shared(kind), *course(SHARED, "PUT Suspended Suspended", "POST events Suspended"),
                *course(SHARED, "DELETE leases"), *start_shared(kind), *swept(kind, SHARED),
            ],
            "shared-upgrade": [
                *use, *course(SHARED, "PUT Upgrading SpecChanged", "POST events Upgrading", "DELETE leases"),
                *finish("ClusterLost", "Failed"), *start_shared(kind), *swept(kind, SHARED),
            ],
        }  # fmt: skip
        for scenario, writes in lives.items():
            found |= life(scenario, writes, kind=kind)
    return found


LIVED = all_lives()


def is_event(call: Call) -> bool:
    """Return whether a call creates an Event."""
    return call.target.startswith("POST-events")


def new_in(*lives: dict[Life, Result], fault: FaultKind = FaultKind.KILL_AFTER) -> set[str]:
    """Return the writes of the last life at which a fault is not like one of an earlier life."""
    references = {name: result for one in lives for name, result in one.items()}
    (last,) = lives[-1]
    return {
        str(one.fault).partition("@")[2]
        for one in plan(references, seed=1).unlike
        if one.life == last and one.fault.kind is fault
    }


SUCCESS = life("success", start("Dask"))

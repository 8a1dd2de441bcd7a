"""The engine: what happens between the call of a flow or task and the final state of its run.

It uses runs, states and runners, and does not depend on the kind of cluster that a runner uses.
"""

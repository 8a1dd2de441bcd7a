"""The run loop: what happens between the call of a flow and its final state.

Knows runs, states and runners; nothing here knows what kind of cluster a runner uses.
"""

"""Task runners: each executes task runs in its own place, such as threads or a cluster, and reports their final states.

A runner gets functions from the engine and never imports the engine.
"""

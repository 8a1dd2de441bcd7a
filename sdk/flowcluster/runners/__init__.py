"""Task runners: each executes calls of tasks in its own place, and returns their final states.

A runner gets functions from the engine and never imports the engine.
"""

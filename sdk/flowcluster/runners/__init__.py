"""Task runners: each carries calls to the place where they are executed, and their states back.

A runner gets callables from the engine and never imports it.
"""

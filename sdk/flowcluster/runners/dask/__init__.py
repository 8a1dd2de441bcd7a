"""The task runner for Dask clusters.

This file stays empty: workers import a part of the package, and `import flowcluster` imports others, without Dask.
"""

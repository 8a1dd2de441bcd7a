"""Build the project's images, with Docker if an engine answers, else with buildah.

An image's tag is a hash of all its inputs, so a stale image can never be used by mistake.
"""

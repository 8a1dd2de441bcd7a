"""Build the project's images, by Docker where an engine answers, else by buildah.

An image's tag is a hash of everything that goes into it, so a stale one can never be used by mistake.
"""

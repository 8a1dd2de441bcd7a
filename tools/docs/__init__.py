"""The documentation's site: `python -m tools.docs` builds it with MkDocs, and makes reference pages from the code."""

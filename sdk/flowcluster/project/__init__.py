"""The project's own modules on workers, as docs/adr/0013-code-of-the-project.md describes.

`finding` collects the modules in the flow's process, `modules` imports them on a worker, `shared` has the values that
travel.
"""

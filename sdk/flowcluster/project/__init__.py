"""The project's own modules on workers, as docs/adr/0013-code-of-the-project.md describes.

`discovery` collects the modules in the flow's process, `files` reads their files, and `modules` imports them on a
worker. `source` has the values that are sent. `submitted_files` selects the modules for a submission to Kubernetes.
`by_value` and `plain_pickles` are for the functions and classes of the script itself.
"""

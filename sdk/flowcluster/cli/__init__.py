"""The command line: it prints results for the user, and sets the exit code of the process."""

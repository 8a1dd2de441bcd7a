"""The command line. Only this package prints for people, and only this package exits the process."""

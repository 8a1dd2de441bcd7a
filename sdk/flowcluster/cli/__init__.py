"""The command line. Only here anything is printed for people, and only here the process exits."""

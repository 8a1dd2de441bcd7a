"""What a run shows: log lines, prints, tracebacks and the line at the bottom of a terminal."""

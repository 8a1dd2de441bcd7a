"""Tools of the project itself: not part of what is installed."""

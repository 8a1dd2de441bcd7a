"""State that only this process has: how long something has been as it is, and what was read or written when."""

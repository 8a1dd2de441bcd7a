"""State that only this process has: how long observations have lasted, and what the operator read or wrote when."""

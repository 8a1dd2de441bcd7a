"""The values that travel through a pass: what the operator observed, and the plan that it makes."""

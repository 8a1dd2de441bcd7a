"""The values of a pass: what the operator observed, and the plan that it decided on."""

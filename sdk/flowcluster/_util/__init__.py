"""Small tools that every part of the SDK uses. They know nothing of runs, flows and clusters."""

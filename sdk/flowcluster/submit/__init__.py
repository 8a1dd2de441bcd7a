"""Submit a flow to Kubernetes as a FlowRun: prepare and pack it, create its objects, follow the run."""

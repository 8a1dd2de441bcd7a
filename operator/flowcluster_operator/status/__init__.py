"""The status of FlowRuns and SharedClusters. Only this package sets its fields; `operator_class` adds `operator`."""

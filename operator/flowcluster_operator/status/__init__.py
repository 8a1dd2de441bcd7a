"""The status of FlowRuns and SharedClusters: the only place that writes its fields."""

"""A program that keeps a task busy on the SharedCluster `team`, and has published a dataset there.

Its argument: the arguments of `SharedKubernetesCluster` as JSON. It prints `ready` once the scheduler has its task.
"""

import json
import sys
import time

from distributed import Client

from flowcluster.clusters import SharedKubernetesCluster

cluster = SharedKubernetesCluster("team", **json.loads(sys.argv[1]))
client = Client(cluster)
held = client.submit(time.sleep, 3600, key="held")
client.publish_dataset(kept=client.submit(sum, [1, 2]))
print("ready", flush=True)
held.result()

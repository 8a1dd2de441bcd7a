"""A Kubernetes without containers for tests of the operator: the real control plane, and nodes on which nothing runs.

`Rig` starts etcd, kube-apiserver, kube-controller-manager and kube-scheduler, the real dask-kubernetes and KubeRay, and
kwok, whose nodes mark pods Running and Ready. All of them are processes of the caller and end with it.
"""

"""A node image of kind, in kind's own format, for machines that reach no image registry.

`kind build node-image` makes it, as it makes the published one, from:

- a base image (`base`): Debian, the files and the layout of kind's own base image from kind's Go module, and containerd
  in the same version. runc and the network plugins are Debian's.
- a server archive of Kubernetes (`server`): the programs of the one-node cluster, kubeadm, and images of them.

Three programs are stand-ins. `go/kindnetd` makes the network of one node. The storage provisioner only waits, so no
PersistentVolume is created. CoreDNS has only the plugins of kubeadm's Corefile.
"""

// Command kindnetd stands in for kind's network daemon, which is in no module that can be downloaded. It makes the
// network of a cluster with one node: no routes to other nodes, and no network policies.
package main

import (
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// The plugins and their settings are those that kind's daemon writes. Its daemon does the address translation, which is
// here the plugin's.
const configuration = `{
  "cniVersion": "0.3.1",
  "name": "kindnet",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": true,
      "ipam": {
        "type": "host-local",
        "dataDir": "/run/cni-ipam-state",
        "routes": [{"dst": "0.0.0.0/0"}],
        "ranges": [[{"subnet": %q}]]
      },
      "mtu": 1500
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`

func main() {
	log.SetFlags(0)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	if err := write("/etc/cni/net.d/10-kindnet.conflist", os.Getenv("POD_SUBNET")); err != nil {
		log.Fatal(err)
	}
	<-ended
}

// write replaces the file as a whole: containerd reads it as soon as it exists.
func write(path, subnet string) error {
	if subnet == "" {
		return fmt.Errorf("POD_SUBNET is not set")
	}
	part := filepath.Join(filepath.Dir(path), ".10-kindnet.part")
	if err := os.WriteFile(part, fmt.Appendf(nil, configuration, subnet), 0o644); err != nil {
		return err
	}
	return os.Rename(part, path)
}

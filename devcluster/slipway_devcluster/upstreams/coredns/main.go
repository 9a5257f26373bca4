// CoreDNS with the plugins that the Corefile in manifests/coredns.yaml names, as upstream's plugin.cfg would choose them.
// With all plugins, which include the clients of three clouds, 1,139 packages would be compiled instead of 552.
package main

import (
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/template"

	"github.com/coredns/coredns/coremain"
)

func main() {
	coremain.Run()
}

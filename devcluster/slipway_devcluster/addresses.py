"""The network of a node. Nothing links it to the host's, so every cluster uses the same addresses.

The ranges are those for documentation and benchmarks (RFC 5737, RFC 2544): they can't be mistaken for a real network.
"""

NODE_NAME = "slipway"
NODE_IP = "198.51.100.2"
API_PORT = 6443
POD_RANGE = "198.18.0.0/24"
SERVICE_RANGE = "198.19.0.0/16"
API_SERVICE_IP = "198.19.0.1"
DNS_IP = "198.19.0.10"
CLUSTER_DOMAIN = "cluster.local"

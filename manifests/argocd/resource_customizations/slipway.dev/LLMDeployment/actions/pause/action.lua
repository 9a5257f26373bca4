-- Leaves the number of replicas as it is, regardless of requests.

obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["slipway.dev/paused"] = "true"
return obj

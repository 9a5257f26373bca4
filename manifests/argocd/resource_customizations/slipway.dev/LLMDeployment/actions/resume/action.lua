-- Lets the number of replicas follow the demand again.

-- Not removed: an empty map is an empty list in Lua, which Argo CD ignores.
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["slipway.dev/paused"] = "false"
return obj

-- Wakes the model for scaling.idleAfter, as a request would now.

local os = require("os")

obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["slipway.dev/wake"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj

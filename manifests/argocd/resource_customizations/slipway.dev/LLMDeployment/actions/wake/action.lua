-- Wakes the model, as a request of this moment would, for scaling.idleAfter.

local os = require("os")

obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["slipway.dev/wake"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj

-- Sends the model to sleep now, instead of after scaling.idleAfter. What it works on, and what waits, is still answered.

local os = require("os")

obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["slipway.dev/sleep"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj

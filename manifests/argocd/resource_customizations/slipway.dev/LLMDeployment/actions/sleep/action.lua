-- Sends the model to sleep now, instead of after scaling.idleAfter. Requests in flight and held requests are still answered.

local os = require("os")

obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["slipway.dev/sleep"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj

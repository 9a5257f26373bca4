-- Has the model's pods made as the installed version of Slipway makes them, which is a rollout like any other. Until then
-- a new version leaves them as they are. Any value that differs from the one before asks for it.

local os = require("os")

obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["slipway.dev/sync"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj

-- Replaces the model's pods by new ones that are made in the same way, which is a rollout like any other. Every new time asks for it.

local os = require("os")

obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["slipway.dev/restart"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj

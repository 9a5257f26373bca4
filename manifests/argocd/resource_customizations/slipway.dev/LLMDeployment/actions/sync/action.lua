-- Replaces the model's pods by those of the installed version of Slipway, which is a rollout like any other. Without it, a
-- new version leaves the pods as they are. Every new value of the annotation asks for it.

local os = require("os")

obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["slipway.dev/sync"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj

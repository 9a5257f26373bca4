-- Renders the model as the installed version of Slipway does, which is a rollout like any other. Until somebody asks for
-- it, a new version of Slipway leaves models as they are. Any value that differs from the one before asks for it.

local os = require("os")

obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["slipway.dev/sync"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj

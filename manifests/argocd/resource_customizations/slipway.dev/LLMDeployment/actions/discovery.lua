-- The actions that are possible with a model now.

local annotations = obj.metadata.annotations or {}
local scaling = obj.spec.scaling or {}
local status = obj.status or {}
local replicas = status.replicas or {}

local is_paused = annotations["slipway.dev/paused"] == "true"
local may_sleep = (scaling.autoscaler or "KEDA") == "KEDA" and (scaling.minReplicas or 0) == 0

return {
  wake = { disabled = is_paused or not may_sleep, displayName = "Wake", iconClass = "fa fa-fw fa-sun" },
  sleep = {
    disabled = is_paused or not may_sleep or (replicas.desired or 0) == 0,
    displayName = "Send to sleep",
    iconClass = "fa fa-fw fa-moon",
  },
  pause = {
    disabled = is_paused,
    displayName = "Leave the replicas as they are",
    iconClass = "fa fa-fw fa-pause-circle",
  },
  resume = { disabled = not is_paused, displayName = "Scale again", iconClass = "fa fa-fw fa-play-circle" },
  restart = {
    disabled = (replicas.desired or 0) == 0,
    displayName = "Restart",
    iconClass = "fa fa-fw fa-redo",
  },
  sync = {
    disabled = status.update == nil,
    displayName = "Update to this version of Slipway",
    iconClass = "fa fa-fw fa-sync",
  },
}

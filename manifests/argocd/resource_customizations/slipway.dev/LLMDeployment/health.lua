-- The health of a model, from the status that Slipway's operator writes.
--
-- A model at zero is healthy, and so is a wake from zero: both are normal. Only its very first start counts as progress,
-- because until then it isn't known whether the model can start at all.

if obj.metadata.deletionTimestamp ~= nil then
  return { status = "Progressing", message = "Pending deletion" }
end

local status = obj.status
if status == nil or status.state == nil then
  return { status = "Progressing", message = "Slipway's operator hasn't observed it yet." }
end
if (status.observedGeneration or 0) < (obj.metadata.generation or 0) then
  return { status = "Progressing", message = "The spec has changed, and Slipway's operator hasn't observed the change yet." }
end

-- Requests are answered, but something is wrong; or they aren't answered. The message names the cause.
if status.state == "Failed" or status.state == "Degraded" then
  return { status = "Degraded", message = status.message }
end

local annotations = obj.metadata.annotations or {}
if annotations["slipway.dev/paused"] == "true" then
  local replicas = status.replicas or {}
  local counted = (replicas.ready or 0) .. " of " .. (replicas.desired or 0)
  return { status = "Suspended", message = "Paused: the number of replicas stays as it is; " .. counted .. " are ready." }
end

local ready = {}
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" then
    ready = condition
  end
end
-- Nothing is in progress until the next day or month, or until someone raises the budget.
if ready.reason == "BudgetSpent" then
  return { status = "Suspended", message = ready.message }
end
if ready.status ~= "True" then
  return { status = "Progressing", message = ready.message or status.message }
end

local has_been_awake = next(status.lastColdStart or {}) ~= nil
if status.state == "Updating" or (status.state == "Waking" and not has_been_awake) then
  return { status = "Progressing", message = status.message }
end
return { status = "Healthy", message = status.message }

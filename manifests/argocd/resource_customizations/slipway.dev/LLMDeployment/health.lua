-- The health of a model, from the words that Slipway's operator writes into its status.
--
-- Being at zero is healthy, and so is a wake from there: that is how the model is meant to be. Only its first start ever
-- counts as progress, since nobody knows before whether it can start at all.

if obj.metadata.deletionTimestamp ~= nil then
  return { status = "Progressing", message = "Pending deletion" }
end

local status = obj.status
if status == nil or status.state == nil then
  return { status = "Progressing", message = "Slipway's operator hasn't looked at it yet." }
end
if (status.observedGeneration or 0) < (obj.metadata.generation or 0) then
  return { status = "Progressing", message = "It has changed, and Slipway's operator hasn't looked at that yet." }
end

-- Asks are answered with something wrong, or not at all. The message names the cause.
if status.state == "Failed" or status.state == "Degraded" then
  return { status = "Degraded", message = status.message }
end

local annotations = obj.metadata.annotations or {}
if annotations["slipway.dev/paused"] == "true" then
  local replicas = status.replicas or {}
  local counted = (replicas.ready or 0) .. " of " .. (replicas.desired or 0)
  return { status = "Suspended", message = "Paused: nobody changes the number of replicas; " .. counted .. " answer." }
end

local ready = {}
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" then
    ready = condition
  end
end
if ready.status ~= "True" then
  return { status = "Progressing", message = ready.message or status.message }
end

local has_been_awake = next(status.lastColdStart or {}) ~= nil
if status.state == "Updating" or (status.state == "Waking" and not has_been_awake) then
  return { status = "Progressing", message = status.message }
end
return { status = "Healthy", message = status.message }

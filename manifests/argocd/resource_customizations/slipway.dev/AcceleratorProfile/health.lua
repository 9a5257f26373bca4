-- A kind of accelerator has no status: whatever the API server has taken, a model may run on.

if obj.metadata.deletionTimestamp ~= nil then
  return { status = "Progressing", message = "Pending deletion" }
end
return { status = "Healthy", message = "Models may run on it." }

-- A profile has no status: every profile that the API server accepted can be used by models.

if obj.metadata.deletionTimestamp ~= nil then
  return { status = "Progressing", message = "Pending deletion" }
end
return { status = "Healthy", message = "Models may run on it." }

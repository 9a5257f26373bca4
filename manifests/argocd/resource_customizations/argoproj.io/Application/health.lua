-- An Application within another one has the health that it reports. By default Argo CD doesn't check it, and then sync waves
-- don't wait for the objects of such an Application.

local health = (obj.status or {}).health or {}
if health.status == nil then
  return { status = "Progressing", message = "Argo CD hasn't checked it yet." }
end
return { status = health.status, message = health.message }

-- An Application within another one is as healthy as it says. Argo CD looks at it only if it is told how, and without that
-- its sync waves wait for nothing that an Application brings.

local health = (obj.status or {}).health or {}
if health.status == nil then
  return { status = "Progressing", message = "Argo CD hasn't looked at it yet." }
end
return { status = health.status, message = health.message }

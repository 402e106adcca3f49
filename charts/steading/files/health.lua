-- Health of Steading's kinds for Argo CD. The kinds follow kstatus: observedGeneration, Ready, Reconciling, Stalled.
-- Only base Lua is used, since Argo CD loads no string library.
local function verdict(status, message)
  return { status = status, message = message or "" }
end

if obj.spec ~= nil and obj.spec.paused == true then
  return verdict("Suspended", "spec.paused is true: nothing is changed until it is taken away")
end

local status = obj.status or {}
if status.observedGeneration == nil or status.observedGeneration ~= obj.metadata.generation then
  return verdict("Progressing", "Steading has not seen the latest change yet")
end

local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end

local function text(condition)
  if condition.message ~= nil and condition.message ~= "" then
    return condition.message
  end
  return condition.reason
end

if found.Stalled ~= nil and found.Stalled.status == "True" then
  return verdict("Degraded", text(found.Stalled))
end
if found.Reconciling ~= nil and found.Reconciling.status == "True" then
  return verdict("Progressing", text(found.Reconciling))
end
if found.Ready == nil then
  return verdict("Progressing", "Steading has not reported yet")
end
if found.Ready.status == "True" then
  return verdict("Healthy", text(found.Ready))
end
-- A Workspace is paused with its Tenant, though nothing in its own spec says so.
if found.Ready.reason == "Paused" then
  return verdict("Suspended", text(found.Ready))
end
return verdict("Progressing", text(found.Ready))

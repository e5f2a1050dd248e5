-- Goes before the scripts that only the owner may run.
-- Whether the caller still is the partition's owner, as the name of a CommitResult; head is {epoch, owner, …}.
local function stands(head, epoch, owner)
  if not head[1] then return 'regressed' end
  local there, asked = tonumber(head[1]), tonumber(epoch)
  if there < asked then return 'regressed' end
  if there > asked or head[2] ~= owner then return 'fenced' end
  return 'ok'
end

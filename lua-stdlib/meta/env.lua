---@meta env

---Environment variables.
---@class env
local env = {}

---the stored text, or the default
---@param key string
---@return string?
---@return Error?
function env.get(key) end

---stores it
---@param key string
---@param value string
---@return boolean?
---@return Error?
function env.set(key, value) end

---what all storages hold, without what the caller may not read
---@return table<string, string>?
---@return Error?
function env.get_all() end

return env

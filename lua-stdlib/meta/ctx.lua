---@meta ctx

---Values that a process or call inherits.
---@class ctx
local ctx = {}

---the value
---@param key string
---@return any
---@return Error?
function ctx.get(key) end

---a fresh copy of all of them
---@return table?
---@return Error?
function ctx.all() end

return ctx

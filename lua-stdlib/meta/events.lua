---@meta events

---The node's bus for observation.
---@class events
local events = {}

---[Y] every later event on this node whose system and kind fit
---@param system string
---@param kind? string
---@return events.Subscription?
---@return Error?
function events.subscribe(system, kind) end

---[Y] says it to all
---@param system string
---@param kind string
---@param path string
---@param data? any
---@return boolean?
---@return Error?
function events.send(system, kind, path, data) end

---@class events.Subscription
local Subscription = {}

---brings tables {system, kind, path, data}, 64 at a time
---@return Channel
function Subscription:channel() end

---no more events
---@return boolean
function Subscription:close() end

return events

---@meta pg

---Named groups of processes, across the nodes of a cluster.
---@class pg
local pg = {}

---a scope of groups
---@param id string
---@return pg.Instance?
---@return Error?
function pg.open(id) end

---@class pg.Instance
local Instance = {}

---[Y] takes a slot in a group, or in each of a list
---@param groups string|string[]
---@return boolean?
---@return Error?
function Instance:join(groups) end

---[Y] gives up a slot in a group, or in each of a list that it is in
---@param groups string|string[]
---@return boolean?
---@return Error?
function Instance:leave(groups) end

---[Y] PIDs on all nodes, once for each slot
---@param group string
---@return string[]?
---@return Error?
function Instance:get_members(group) end

---[Y] those of this node
---@param group string
---@return string[]?
---@return Error?
function Instance:get_local_members(group) end

---[Y] groups with members anywhere
---@return string[]?
---@return Error?
function Instance:which_groups() end

---[Y] groups with members on this node
---@return string[]?
---@return Error?
function Instance:which_local_groups() end

---[Y] a message to every member, once for each slot
---@param group string
---@param topic string
---@param ... any
---@return boolean?
---@return Error?
function Instance:broadcast(group, topic, ...) end

---[Y] the same to the members on this node
---@param group string
---@param topic string
---@param ... any
---@return boolean?
---@return Error?
function Instance:broadcast_local(group, topic, ...) end

---[Y] what changes in a group from now on, and who is in it now
---@param group string
---@return pg.Subscription?
---@return string[]?
---@return Error?
function Instance:monitor(group) end

---[Y] what changes in any group from now on, and who is in which now
---@return pg.Subscription?
---@return table<string, string[]>?
---@return Error?
function Instance:events() end

---it is not used any more; its subscriptions end, memberships stay
---@return boolean
function Instance:release() end

---@class pg.Subscription
local Subscription = {}

---brings tables {system, kind, path, data}
---@return Channel
function Subscription:channel() end

---no more events; { flush = true } drops those that were not read
---@param options? table
---@return boolean
function Subscription:close(options) end

return pg

---@meta security

---Actors, scopes and policies.
---@class security
local security = {}

---who acts, or nil
---@return security.Actor?
function security.actor() end

---which policies apply, or nil
---@return security.Scope?
function security.scope() end

---whether the policies allow it
---@param action string
---@param resource string
---@param meta? table
---@return boolean
function security.can(action, resource, meta) end

---an actor
---@param id string
---@param meta? table
---@return security.Actor
function security.new_actor(id, meta) end

---a scope
---@param policies? security.Policy[]
---@return security.Scope
function security.new_scope(policies) end

---a policy of the app
---@param id string
---@return security.Policy?
---@return Error?
function security.policy(id) end

---the policies of a group
---@param group string
---@return security.Scope?
---@return Error?
function security.named_scope(group) end

---@class security.Actor
local Actor = {}

---its id
---@return string
function Actor:id() end

---facts about it, a fresh copy
---@return table
function Actor:meta() end

---@class security.Scope
local Scope = {}

---one more policy
---@param policy security.Policy
---@return security.Scope
function Scope:with(policy) end

---one less
---@param id string
---@return security.Scope
function Scope:without(id) end

---whether the policy is in it
---@param id string
---@return boolean
function Scope:contains(id) end

---its policies
---@return security.Policy[]
function Scope:policies() end

---"allow", "deny" or "undefined"
---@param actor security.Actor
---@param action string
---@param resource string
---@param meta? table
---@return string
function Scope:evaluate(actor, action, resource, meta) end

---@class security.Policy
local Policy = {}

---its id
---@return string
function Policy:id() end

---what it says alone
---@param actor security.Actor
---@param action string
---@param resource string
---@param meta? table
---@return string
function Policy:evaluate(actor, action, resource, meta) end

return security

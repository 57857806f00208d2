---@meta funcs

---Calls of functions, now or later.
---@class funcs
local funcs = {}

---[Y] the first result of the function
---@param target string
---@param ... any
---@return any
---@return Error?
function funcs.call(target, ...) end

---[Y] a future, at once
---@param target string
---@param ... any
---@return Future?
---@return Error?
function funcs.async(target, ...) end

---an executor
---@return Executor
function funcs.new() end

---@class Executor
local Executor = {}

---values over those inherited
---@param values table
---@return Executor?
---@return Error?
function Executor:with_context(values) end

---in place of the options before
---@param options table
---@return Executor?
---@return Error?
function Executor:with_options(options) end

---who acts
---@param actor security.Actor
---@return Executor?
---@return Error?
function Executor:with_actor(actor) end

---which policies apply
---@param scope security.Scope
---@return Executor?
---@return Error?
function Executor:with_scope(scope) end

---[Y] as funcs.call
---@param target string
---@param ... any
---@return any
---@return Error?
function Executor:call(target, ...) end

---[Y] as funcs.async
---@param target string
---@param ... any
---@return Future?
---@return Error?
function Executor:async(target, ...) end

---@class Future
local Future = {}

---brings a payload, or the error, and closes
---@return Channel
function Future:channel() end

---the same channel
---@return Channel
function Future:response() end

---whether there is an outcome, cancelling included
---@return boolean
function Future:is_complete() end

---whether it was cancelled
---@return boolean
function Future:is_canceled() end

---nil, nil while it is pending
---@return Payload?
---@return Error?
function Future:result() end

---the error and true, or nil and false
---@return Error?
---@return boolean
function Future:error() end

---[Y] stops the function at its next wait
---@return boolean?
---@return Error?
function Future:cancel() end

return funcs

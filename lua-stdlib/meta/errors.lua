---@meta errors

---Error objects: a kind, a message, and facts.
---@class errors
---@field NOT_FOUND "NotFound"
---@field ALREADY_EXISTS "AlreadyExists"
---@field INVALID "Invalid"
---@field PERMISSION_DENIED "PermissionDenied"
---@field UNAVAILABLE "Unavailable"
---@field INTERNAL "Internal"
---@field CANCELED "Canceled"
---@field CONFLICT "Conflict"
---@field TIMEOUT "Timeout"
---@field RATE_LIMITED "RateLimited"
---@field UNKNOWN ""
errors = {}

---@class ErrorFields
---@field message string
---@field kind? string
---@field retryable? boolean
---@field details? table

---Makes an error object.
---@param message string|ErrorFields
---@return Error
function errors.new(message) end

---The same error, with a context that its stack shows.
---@param err Error|string
---@param context string|Error
---@return Error
function errors.wrap(err, context) end

---Whether it is an error object of this kind.
---@param err any
---@param kind string
---@return boolean
function errors.is(err, kind) end

---Where it was made.
---@param err any
---@return { thread: string, frames: table[] }?
function errors.call_stack(err) end

---An error object. It can be used wherever a string is expected, as its message.
---@class Error
---@operator concat(any): string
local Error = {}

---@return string
function Error:message() end

---@return string kind empty if none was given
function Error:kind() end

---Whether trying again may help; nil: unknown.
---@return boolean?
function Error:retryable() end

---@return table?
function Error:details() end

---The message, then where it comes from.
---@return string
function Error:stack() end

return errors

---@meta expr

---A small language of expressions.
---@class expr
local expr = {}

---its value
---@param source string
---@param env? table
---@return any
---@return Error?
function expr.eval(source, env) end

---a program
---@param source string
---@param env? table
---@return expr.Program?
---@return Error?
function expr.compile(source, env) end

---@class expr.Program
local Program = {}

---its value
---@param env? table
---@return any
---@return Error?
function Program:run(env) end

return expr

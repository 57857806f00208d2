---@meta eval_runner

---Source text, run in a sandbox.
---@class eval_runner
local eval_runner = {}

---[Y] the result, copied
---@param config table
---@return any
---@return Error?
function eval_runner.run(config) end

---a program that compiles
---@param source string
---@param method? string
---@param options? table
---@return eval.Program?
---@return Error?
function eval_runner.compile(source, method, options) end

---@class eval.Program
local Program = {}

---the method it was compiled for
---@return string
function Program:method() end

---the modules it was compiled with
---@return string[]
function Program:modules() end

return eval_runner

---@meta io

---The terminal of a process on a terminal host.
---@class io
local io = {}

---Values without anything between them.
---@param ... any
---@return boolean?
---@return Error?
function io.write(...) end

---Values with tabs between them, and a newline.
---@param ... any
---@return boolean?
---@return Error?
function io.print(...) end

---The same to standard error.
---@param ... any
---@return boolean?
---@return Error?
function io.eprint(...) end

---@return boolean?
---@return Error?
function io.flush() end

---Up to n bytes, as soon as some are there. May wait.
---@param n? integer
---@return string?
---@return Error?
function io.read(n) end

---One line without its end. May wait.
---@return string?
---@return Error?
function io.readline() end

---@param enable? boolean
---@return boolean?
---@return Error?
function io.raw(enable) end

---Arguments of the command line.
---@return string[]
function io.args() end

return io

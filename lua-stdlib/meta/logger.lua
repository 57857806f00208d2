---@meta logger

---Structured log records.
---@class Logger
local Logger = {}

---a record at this level
---@param message string
---@param fields? table
function Logger:debug(message, fields) end

---the same
---@param message string
---@param fields? table
function Logger:info(message, fields) end

---the same
---@param message string
---@param fields? table
function Logger:warn(message, fields) end

---the same
---@param message string
---@param fields? table
function Logger:error(message, fields) end

---a child with these fields in every record
---@param fields table
---@return Logger
function Logger:with(fields) end

---a child with this name
---@param name string
---@return Logger
function Logger:named(name) end

---@type Logger
local logger

return logger

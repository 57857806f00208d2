---@meta json

---JSON and back.
---@class json
local json = {}

---@param value any
---@return string?
---@return Error?
function json.encode(value) end

---@param text string
---@return any
---@return Error?
function json.decode(text) end

---Whether data fits a JSON Schema (draft 2020-12).
---@param schema table|string
---@param data any
---@return boolean
---@return Error?
function json.validate(schema, data) end

---The same for JSON text.
---@param schema table|string
---@param text string
---@return boolean
---@return Error?
function json.validate_string(schema, text) end

return json

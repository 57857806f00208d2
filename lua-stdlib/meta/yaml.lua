---@meta yaml

---YAML and back.
---@class yaml
local yaml = {}

---block style, keys in a natural order, an indent of 4
---@param value table
---@param options? table
---@return string?
---@return Error?
function yaml.encode(value, options) end

---the first document
---@param text string
---@return any
---@return Error?
function yaml.decode(text) end

return yaml

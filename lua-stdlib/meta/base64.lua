---@meta base64

---Bytes as text and back.
---@class base64
local base64 = {}

---text
---@param data string
---@return string?
---@return Error?
function base64.encode(data) end

---bytes
---@param text string
---@return string?
---@return Error?
function base64.decode(text) end

return base64

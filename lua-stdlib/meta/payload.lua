---@meta payload

---Values together with the form that they are in.
---@class payload
payload = {}

---@class payload.format
---@field JSON "json/plain"
---@field YAML "yaml/plain"
---@field STRING "text/plain"
---@field BYTES "application/octet-stream"
---@field MSGPACK "application/msgpack"
---@field LUA "lua/any"
---@field GOLANG "golang/any"
---@field ERROR "golang/error"
payload.format = {}

---@param value any
---@return Payload
function payload.new(value) end

---@class Payload
local Payload = {}

---@return string format
function Payload:get_format() end

---The value, whatever the form.
---@return any
---@return Error?
function Payload:data() end

---The same as data.
---@return any
---@return Error?
function Payload:unmarshal() end

---@param format string
---@return Payload?
---@return Error?
function Payload:transcode(format) end

return payload

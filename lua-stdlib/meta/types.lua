---@meta types

---What a declaration `type Name = T` or `interface Name … end` makes. Called with a value it returns the value, or raises an error of kind
---`Invalid`.
---@class Type
---@overload fun(value: any): any
---@operator call(any): any
local Type = {}

---@class Type.Field
---@field name string
---@field type Type
---@field optional boolean
---@field readonly boolean

---Whether the value has the type. Also called as `Name.is(value)`.
---@param value any
---@return any? value
---@return Error? err of kind `Invalid`; details: `field`, `expected`, `got`, `constraint`
function Type:is(value) end

---@return string
function Type:kind() end

---@return string
function Type:name() end

---@return Type.Field[]
function Type:fields() end

---@return Type[]
function Type:variants() end

---@return Type?
function Type:elem() end

---@return Type?
function Type:key() end

---@return Type?
function Type:val() end

---@return Type?
function Type:inner() end

---@return Type[]
function Type:params() end

---@return Type? ... one for each result
function Type:ret() end

---The value, if it is an integer or a float with a whole value; raises otherwise.
---@param value any
---@return integer
function integer(value) end

---The value, if it is a number; raises otherwise.
---@param value any
---@return number
function number(value) end

---The value, if it is a boolean; raises otherwise.
---@param value any
---@return boolean
function boolean(value) end

---@meta uuid

---Universally unique ids.
---@class uuid
local uuid = {}

---by time and node
---@return string?
---@return Error?
function uuid.v1() end

---random
---@return string?
---@return Error?
function uuid.v4() end

---ordered by time
---@return string?
---@return Error?
function uuid.v7() end

---by MD5 of a name
---@param namespace string
---@param name string
---@return string?
---@return Error?
function uuid.v3(namespace, name) end

---by SHA-1 of a name
---@param namespace string
---@param name string
---@return string?
---@return Error?
function uuid.v5(namespace, name) end

---whether it is one
---@param x any
---@return boolean
---@return nil
function uuid.validate(x) end

---its version
---@param id string
---@return integer?
---@return Error?
function uuid.version(id) end

---RFC4122, Microsoft, NCS or Future
---@param id string
---@return string?
---@return Error?
function uuid.variant(id) end

---a table: version, variant, timestamp (unix seconds, versions 1 and 7), node (6 bytes, version 1)
---@param id string
---@return table?
---@return Error?
function uuid.parse(id) end

---as "standard" (the default), "simple" or "urn"
---@param id string
---@param how? string
---@return string?
---@return Error?
function uuid.format(id, how) end

return uuid

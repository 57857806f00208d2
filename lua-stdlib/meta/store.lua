---@meta store

---Key-value stores.
---@class store
local store = {}

---the store
---@param id string
---@return store.Store?
---@return Error?
function store.get(id) end

---@class store.Store
local Store = {}

---the value
---@param key string
---@return any
---@return Error?
function Store:get(key) end

---{ key, value, version }
---@param key string
---@return table?
---@return Error?
function Store:entry(key) end

---whether it is there
---@param key string
---@return boolean
---@return Error?
function Store:has(key) end

---stores it
---@param key string
---@param value any
---@param ttl? number
---@return boolean?
---@return Error?
function Store:set(key, value, ttl) end

---the new entry
---@param key string
---@param value any
---@param options? table
---@return table?
---@return Error?
function Store:put(key, value, options) end

---whether there was something
---@param key string
---@return boolean?
---@return Error?
function Store:delete(key) end

---{ items, cursor, has_more }, by key
---@param options? table
---@return table?
---@return Error?
function Store:list(options) end

---id, backend, consistency, durable, list, versioned, conditional_put, ttl
---@return table?
---@return Error?
function Store:info() end

---it is not used any more
---@return boolean
function Store:release() end

---@class store.backend
---@field MEMORY "memory"
---@field SQL "sql"
---@field KV_RAFT "kv.raft"
---@field KV_CRDT "kv.crdt"
---@field UNKNOWN "unknown"
store.backend = {}

---@class store.consistency
---@field LINEARIZABLE "linearizable"
---@field EVENTUAL "eventual"
---@field LOCAL "local"
---@field UNKNOWN "unknown"
store.consistency = {}

return store

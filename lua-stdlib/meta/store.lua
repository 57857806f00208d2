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

---the value; { stale = true }: it may be older than the latest write
---@param key string
---@param options? table
---@return any
---@return Error?
function Store:get(key, options) end

---{ key, value, version }
---@param key string
---@param options? table
---@return table?
---@return Error?
function Store:entry(key, options) end

---whether it is there
---@param key string
---@param options? table
---@return boolean
---@return Error?
function Store:has(key, options) end

---stores it
---@param key string
---@param value any
---@param ttl? number
---@return boolean?
---@return Error?
function Store:set(key, value, ttl) end

---the new entry; { only_if_absent, if_version, ttl, fence, lock }
---@param key string
---@param value any
---@param options? table
---@return table?
---@return Error?
function Store:put(key, value, options) end

---whether there was something; { if_version, fence, lock }
---@param key string
---@param options? table
---@return boolean?
---@return Error?
function Store:delete(key, options) end

---{ items, cursor, has_more }, by key
---@param options? table
---@return table?
---@return Error?
function Store:list(options) end

---{ version }: all of it or nothing; { checks = { { key, version } }, puts = { { key, value, ttl } }, deletes = { key }, fence, lock }
---@param transaction table
---@return table?
---@return Error?
function Store:txn(transaction) end

---changes of the keys that begin with this; { from = version }
---@param prefix? string
---@param options? table
---@return store.Watch?
---@return Error?
function Store:watch(prefix, options) end

---id, backend, consistency, durable, list, versioned, conditional_put, ttl
---@return table?
---@return Error?
function Store:info() end

---it is not used any more
---@return boolean
function Store:release() end

---@class store.Watch
local Watch = {}

---events { type, key, value, version, prev_version }, { type = "resync", version }, at the end { type = "closed", error }
---@return Channel
function Watch:channel() end

---no more events
---@return boolean
function Watch:close() end

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

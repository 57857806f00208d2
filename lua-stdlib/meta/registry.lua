---@meta registry

---The entries of the app, their versions, and changes to them.
---@class registry
local registry = {}

---{ ns, name }
---@param id string
---@return table
function registry.parse_id(id) end

---the entry
---@param id string
---@return table?
---@return Error?
function registry.get(id) end

---entries that fit all conditions, by id
---@param filter? table
---@return table[]?
---@return Error?
function registry.find(filter) end

---what holds now
---@return registry.Snapshot?
---@return Error?
function registry.snapshot() end

---what held at a version
---@param id integer
---@return registry.Snapshot?
---@return Error?
function registry.snapshot_at(id) end

---the version that holds
---@return registry.Version?
---@return Error?
function registry.current_version() end

---the last hundred, oldest first
---@return registry.Version[]?
---@return Error?
function registry.versions() end

---the same as an object
---@return registry.History?
---@return Error?
function registry.history() end

---[Y] makes it hold again
---@param version registry.Version
---@return boolean
---@return Error?
function registry.apply_version(version) end

---operations that turn one list of entries into the other
---@param from table[]
---@param to table[]
---@return table[]?
---@return Error?
function registry.build_delta(from, to) end

---@class registry.Snapshot
local Snapshot = {}

---all entries
---@return table[]?
---@return Error?
function Snapshot:entries() end

---as registry.get
---@param id string
---@return table?
---@return Error?
function Snapshot:get(id) end

---as registry.find
---@param filter? table
---@return table[]
function Snapshot:find(filter) end

---those of this very namespace
---@param ns string
---@return table[]
function Snapshot:namespace(ns) end

---its version
---@return registry.Version
function Snapshot:version() end

---an empty set of changes
---@return registry.Changes
function Snapshot:changes() end

---@class registry.Changes
local Changes = {}

---id and kind are required, meta and data tables
---@param entry table
---@return registry.Changes?
---@return Error?
function Changes:create(entry) end

---in place of the entry of this id
---@param entry table
---@return registry.Changes?
---@return Error?
function Changes:update(entry) end

---"ns:name" or { ns =, name = }
---@param id string|table
---@return registry.Changes?
---@return Error?
function Changes:delete(id) end

---a list of { kind, entry }
---@return table[]
function Changes:ops() end

---[Y] carries out all of them, or none
---@return registry.Version?
---@return Error?
function Changes:apply() end

---@class registry.Version
local Version = {}

---a number that rises
---@return integer
function Version:id() end

---as text
---@return string
function Version:string() end

---the one before
---@return registry.Version?
function Version:previous() end

---the one after
---@return registry.Version?
function Version:next() end

---@class registry.History
local History = {}

---oldest first
---@return registry.Version[]?
---@return Error?
function History:versions() end

---one of them
---@param id integer
---@return registry.Version?
---@return Error?
function History:get_version(id) end

---what held then
---@param version registry.Version
---@return registry.Snapshot?
---@return Error?
function History:snapshot_at(version) end

return registry

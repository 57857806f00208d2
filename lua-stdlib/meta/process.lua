---@meta process

---This process, and others.
---@class process
process = {}

---@class process.event
---@field EXIT "pid.exit"
---@field LINK_DOWN "pid.link.down"
---@field CANCEL "pid.cancel"
---@field OUTDATED "pid.outdated"
process.event = {}

---@class ProcessEvent
---@field kind string
---@field from? string
---@field at integer unix seconds
---@field result? { value: any, error: Error }
---@field reason? string
---@field sources? string[]

---@return string pid
function process.pid() end

---@return string id of the entry whose code runs
function process.id() end

---@param to string PID or name
---@param topic string
---@param ... any
---@return boolean?
---@return Error?
function process.send(to, topic, ...) end

---@param id string
---@param host string
---@param ... any
---@return string? pid
---@return Error?
function process.spawn(id, host, ...) end

---@param id string
---@param host string
---@param ... any
---@return string? pid
---@return Error?
function process.spawn_monitored(id, host, ...) end

---@param id string
---@param host string
---@param ... any
---@return string? pid
---@return Error?
function process.spawn_linked(id, host, ...) end

---@param id string
---@param host string
---@param ... any
---@return string? pid
---@return Error?
function process.spawn_linked_monitored(id, host, ...) end

---Spawns, waits for the end, and returns the result.
---@param id string
---@param host string
---@param ... any
---@return any
---@return Error?
function process.exec(id, host, ...) end

---@param to string
---@return boolean?
---@return Error?
function process.terminate(to) end

---@param to string
---@param reason? string
---@return boolean?
---@return Error?
function process.cancel(to, reason) end

---@param to string
---@return boolean?
---@return Error?
function process.monitor(to) end

---@param to string
---@return boolean?
---@return Error?
function process.unmonitor(to) end

---@param to string
---@return boolean?
---@return Error?
function process.link(to) end

---@param to string
---@return boolean?
---@return Error?
function process.unlink(to) end

---@return { trap_links: boolean, upgradable: boolean }
function process.get_options() end

---@param options { trap_links?: boolean, upgradable?: boolean }
---@return boolean
---@return Error?
function process.set_options(options) end

---Messages whose topic nobody listens to.
---@return Channel
function process.inbox() end

---Lifecycle events: tables of the form ProcessEvent.
---@return Channel
function process.events() end

---@param topic string
---@param options? { message: boolean }
---@return Channel?
---@return Error?
function process.listen(topic, options) end

---@param ch Channel
---@return boolean
---@return Error?
function process.unlisten(ch) end

---Goes on with the newest code of an entry. Does not return.
---@param id? string
---@param ... any
function process.upgrade(id, ...) end

---@param values table<string, any>
---@return SpawnBuilder
function process.with_context(values) end

---@param options table
---@return SpawnBuilder
function process.with_options(options) end

---Names of processes.
---@class process.registry
---@field LOCAL integer
---@field EVENTUAL integer
---@field CONSISTENT integer
---@field STRONG integer
process.registry = {}

---Waits in scopes that are larger than the node.
---@param name string
---@param pid? string default: this process
---@param scope? integer default: LOCAL
---@return boolean?
---@return Error?
function process.registry.register(name, pid, scope) end

---@param name string
---@param options? { linearizable?: boolean } as the log has it at this moment; waits
---@return string? pid
---@return Error?
function process.registry.lookup(name, options) end

---@param prefix? string
---@return { name: string, pid: string, scope: string }[]
function process.registry.names(prefix) end

---What a name, or with `prefix` all names that begin with it, stand for on this node: now, and whenever that changes.
---@param name string
---@param options? { prefix?: boolean }
---@return NameWatch?
---@return Error?
function process.registry.watch(name, options) end

---@param name string
---@param scope? integer
---@return boolean
function process.registry.unregister(name, scope) end

---@class NameWatch
local NameWatch = {}

---@return Channel of `{ type = "bound", name, pid, scope }`, `{ type = "released", name, pid }`, `{ type = "synced" }`, `{ type = "resync" }`
function NameWatch:channel() end

---@return boolean
function NameWatch:close() end

---@class Message
local Message = {}

---@return string
function Message:topic() end

---@return string pid empty when the runtime sent it
function Message:from() end

---@return Payload|Payload[]|nil
function Message:payload() end

---@class SpawnBuilder
local SpawnBuilder = {}

---@param values table<string, any>
---@return SpawnBuilder
function SpawnBuilder:with_context(values) end

---@param options table
---@return SpawnBuilder
function SpawnBuilder:with_options(options) end

---@param actor security.Actor
---@return SpawnBuilder
function SpawnBuilder:with_actor(actor) end

---@param scope security.Scope
---@return SpawnBuilder
function SpawnBuilder:with_scope(scope) end

---@param name string
---@return SpawnBuilder
function SpawnBuilder:with_name(name) end

---@param topic string
---@param ... any
---@return SpawnBuilder
function SpawnBuilder:with_message(topic, ...) end

---@param id string
---@param host string
---@param ... any
---@return string? pid
---@return Error?
function SpawnBuilder:spawn(id, host, ...) end

---@param id string
---@param host string
---@param ... any
---@return string? pid
---@return Error?
function SpawnBuilder:spawn_monitored(id, host, ...) end

---@param id string
---@param host string
---@param ... any
---@return string? pid
---@return Error?
function SpawnBuilder:spawn_linked(id, host, ...) end

---@param id string
---@param host string
---@param ... any
---@return string? pid
---@return Error?
function SpawnBuilder:spawn_linked_monitored(id, host, ...) end

---@param id string
---@param host string
---@param ... any
---@return any
---@return Error?
function SpawnBuilder:exec(id, host, ...) end

---Binds a channel of the script to a topic.
---@param topic string
---@param ch Channel
---@return Channel?
---@return Error?
function subscribe(topic, ch) end

---@param ch Channel
---@return boolean
---@return Error?
function unsubscribe(ch) end

return process

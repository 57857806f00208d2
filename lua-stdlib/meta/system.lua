---@meta system

---The node and its machine.
---@class system
local system = {}

---@class system.memory
system.memory = {}

---figures of the heap: alloc, total_alloc, sys, heap_alloc, heap_sys, heap_idle, heap_in_use, heap_released, heap_objects, stack_in_use, stack_sys, mspan_in_use, mspan_sys, num_gc, next_gc
---@return table?
---@return Error?
function system.memory.stats() end

---bytes in use
---@return integer?
---@return Error?
function system.memory.allocated() end

---roughly how many objects
---@return integer?
---@return Error?
function system.memory.heap_objects() end

---a setting that is kept and changes nothing
---@return integer?
---@return Error?
function system.memory.get_limit() end

---the setting before
---@param n integer
---@return integer?
---@return Error?
function system.memory.set_limit(n) end

---@class system.gc
system.gc = {}

---collects garbage if Node.js lets it
---@return boolean?
---@return Error?
function system.gc.collect() end

---a setting that is kept and changes nothing
---@return integer?
---@return Error?
function system.gc.get_percent() end

---the setting before
---@param n integer
---@return integer?
---@return Error?
function system.gc.set_percent(n) end

---@class system.runtime
system.runtime = {}

---how many processes live
---@return integer?
---@return Error?
function system.runtime.goroutines() end

---a setting that is kept and changes nothing, or the one before
---@param n? integer
---@return integer?
---@return Error?
function system.runtime.max_procs(n) end

---processors of the machine
---@return integer?
---@return Error?
function system.runtime.cpu_count() end

---@class system.process
system.process = {}

---of the program, as the machine counts
---@return integer?
---@return Error?
function system.process.pid() end

---name of the machine
---@return string?
---@return Error?
function system.process.hostname() end

---working directory
---@return string?
---@return Error?
function system.process.cwd() end

---@class system.node
system.node = {}

---name of the node
---@return string?
---@return Error?
function system.node.id() end

---its address in the cluster
---@return string?
---@return Error?
function system.node.addr() end

---"non-member"
---@return string?
---@return Error?
function system.node.role() end

---@class system.cluster
system.cluster = {}

---tables with id, is_local
---@return table[]?
---@return Error?
function system.cluster.members() end

---""
---@return string?
---@return Error?
function system.cluster.leader() end

---1
---@return integer?
---@return Error?
function system.cluster.size() end

---@class system.raft
system.raft = {}

---@return boolean?
---@return Error?
function system.raft.is_leader() end

---@return boolean?
---@return Error?
function system.raft.is_member() end

---@return string?
---@return Error?
function system.raft.role() end

---@return integer?
---@return Error?
function system.raft.term() end

---@return integer?
---@return Error?
function system.raft.commit_index() end

---@return table<string, string>?
---@return Error?
function system.raft.stats() end

---@class system.lock
system.lock = {}

---@class system.lock.Options
---@field wait? string|number|time.Duration how long to wait for it; nothing: not at all
---@field ttl? string|number|time.Duration free by itself after this, unless it is renewed

---@class system.lock.Info
---@field name string
---@field holder string
---@field token integer
---@field since integer Unix milliseconds, by the clock of this node
---@field held_ms integer
---@field waiters integer
---@field ttl_ms? integer

---held by somebody: false and an error of kind AlreadyExists, with holder, token and since (Unix milliseconds) in its details
---@param name string
---@param options? system.lock.Options
---@return boolean? acquired
---@return Error?
---@return integer? token
function system.lock.acquire(name, options) end

---@param name string
---@return boolean?
---@return Error?
function system.lock.renew(name) end

---@param name string
---@return boolean?
---@return Error?
function system.lock.is_held(name) end

---@param name string
---@return string? pid
---@return Error?
function system.lock.holder(name) end

---@param name string
---@return system.lock.Info?
---@return Error?
function system.lock.info(name) end

---@param name string
---@return boolean?
---@return Error?
function system.lock.release(name) end

---@class system.supervisor
system.supervisor = {}

---id, status, desired, retry_count, last_update, started_at (nanoseconds), details
---@param id string
---@return table?
---@return Error?
function system.supervisor.state(id) end

---the same of every service
---@return table[]?
---@return Error?
function system.supervisor.states() end

---@class system.hosts
system.hosts = {}

---id, workers, processes, executed, stolen, queue_depth of each host
---@return table[]?
---@return Error?
function system.hosts.list() end

---pid, host, source, state, steps, started_at (nanoseconds) of each process
---@param host string
---@return table[]?
---@return Error?
function system.hosts.processes(host) end

---the node stops in order, and the program ends with this code
---@param code? integer
---@return boolean?
---@return Error?
function system.exit(code) end

---name, description, class of every module
---@return table[]?
---@return Error?
function system.modules() end

return system

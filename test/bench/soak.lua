-- The load of a soak: on each node one process a kind of work, which does a little of it and rests, for as long as the node runs. Whatever a
-- round begins it also ends, so that nothing may grow but what has a bound.
local metrics = require("metrics")
local pg = require("pg")
local store = require("store")
local system = require("system")
local time = require("time")

local HOST = "soak:host"
local KEYS = 500
local names, lock = process.registry, system.lock

--- Counts what a call answered: a second value beside nothing is an error, told by its kind.
local function counted(work, value, err)
    local outcome = "ok"
    if not value and err ~= nil then outcome = err:kind() end
    metrics.counter_inc("soak_ops_total", { work = work, outcome = outcome })
    return value
end

local function text(i)
    return string.rep("v", 50 + i * 37 % 1500)
end

local work = {}

function work.locks(me, i)
    local name = "lock/" .. i % 8
    if counted("lock", lock.acquire(name, { wait = "2s", ttl = i % 5 == 0 and "10s" or nil })) then
        counted("unlock", lock.release(name))
    end
end

function work.names(me, i)
    local pid = assert(process.spawn("soak:idle", HOST))
    for _, scope in ipairs({ "LOCAL", "EVENTUAL", i % 10 == 0 and "STRONG" or "CONSISTENT" }) do
        counted("name", names.register(scope .. "/" .. me .. "/" .. i % 100, pid, names[scope]))
    end
    counted("lookup", names.lookup("CONSISTENT/" .. me .. "/" .. i % 100) or true)
    -- Its end takes its names away; half of the small ones are given up before.
    if i % 2 == 0 then counted("unname", names.unregister("EVENTUAL/" .. me .. "/" .. i % 100, names.EVENTUAL) or true) end
    process.terminate(pid)
end

local function keyed(kind, id, me, i)
    local s = assert(store.get(id))
    local key = "k/" .. me .. "/" .. i % KEYS
    counted(kind .. "_set", s:set(key, text(i), i % 7 == 0 and 30 or nil))
    counted(kind .. "_get", s:get(key))
    if i % 3 == 0 then counted(kind .. "_delete", s:delete(key) or true) end
    if i % 20 == 0 then counted(kind .. "_list", s:list({ prefix = "k/" .. me, limit = 50 })) end
    s:release()
end

function work.raft_kv(me, i) keyed("raft_kv", "soak:kv", me, i) end
function work.crdt_kv(me, i) keyed("crdt_kv", "soak:crdt", me, i) end

function work.groups(me, i)
    local groups = assert(pg.open("soak:groups"))
    local group = "g/" .. i % 20
    for _ = 1, 2 do assert(process.spawn("soak:member", HOST, group)) end
    -- Not those of the members, whose casts nobody would read here.
    local own = { "own/" .. me, "own/" .. i % 20 }
    counted("join", groups:join(own))
    counted("broadcast", groups:broadcast(group, "cast", text(i)))
    counted("leave", groups:leave(own))
    groups:release()
end

function work.children(me, i)
    local events = process.events()
    for n = 1, 5 do
        local spawn = n == 1 and process.spawn_linked_monitored or process.spawn_monitored
        counted("spawn", spawn("soak:brief", HOST, n))
    end
    for _ = 1, 5 do events:receive() end
end

--- A process of the next node, watched and linked: spoken to, then ended.
function work.abroad(me, i, nodes)
    local events, answers = process.events(), process.listen("echo")
    local node = nodes[i % #nodes + 1]
    local pid = counted("spawn_abroad", process.spawn_linked_monitored("soak:echo", node .. "@" .. HOST))
    if not pid then return end
    for n = 1, 20 do process.send(pid, "say", text(i + n)) end
    local late = time.after("10s")
    for _ = 1, 20 do
        local got = channel.select({ answers:case_receive(), late:case_receive(), events:case_receive() })
        counted("echo", got.channel == answers or nil, errors.new({ kind = errors.TIMEOUT, message = "no answer" }))
        if got.channel ~= answers then break end
    end
    process.send(pid, "end")
    channel.select({ events:case_receive(), late:case_receive() })
    process.unlisten(answers)
end

local function worker(kind, me, nodes, every)
    -- Not all at once.
    time.sleep(math.random(1, 1000) .. "ms")
    local i = 0
    while true do
        i = i + 1
        local ok, err = pcall(work[kind], me, i, nodes)
        if not ok then metrics.counter_inc("soak_ops_total", { work = kind, outcome = "raised: " .. string.sub(tostring(err), 1, 80) }) end
        time.sleep(every)
    end
end

local function main(me, nodes, every, heap_every)
    for kind in pairs(work) do assert(process.spawn("soak:worker", HOST, kind, me, nodes, every)) end
    while true do
        system.gc.collect()
        metrics.gauge_set("soak_thread_heap_bytes", system.memory.allocated())
        time.sleep(heap_every)
    end
end

local function idle() process.inbox():receive() end
local function brief(n) if n == 5 then error("told to") end end

local function member(group)
    local groups, casts = assert(pg.open("soak:groups")), process.listen("cast")
    if counted("join", groups:join(group)) then channel.select({ casts:case_receive(), time.after("5s"):case_receive() }) end
end

local function echo()
    local inbox = process.inbox()
    while true do
        local message = inbox:receive()
        if message:topic() == "end" then return end
        process.send(message:from(), "echo", message:payload():data())
    end
end

return { main = main, worker = worker, idle = idle, brief = brief, member = member, echo = echo }

-- What more processes, names and members of groups cost. Times are taken inside.
local pg = require("pg")
local time = require("time")

local HOST = "bench:host"
local AT_ONCE = 64
local names = process.registry

local function seconds()
    return time.now():unix_nano() / 1e9
end

--- `act(i)` for i from `from` to `to`, so many at a time. @return seconds
local function all(from, to, act)
    local began, next_index, done = seconds(), from, channel.new(AT_ONCE)
    for _ = 1, AT_ONCE do
        coroutine.spawn(function()
            while next_index <= to do
                local i = next_index
                next_index = i + 1
                act(i)
            end
            done:send(true)
        end)
    end
    for _ = 1, AT_ONCE do done:receive() end
    return seconds() - began
end

local function waiting()
    local inbox = process.inbox()
    process.send(inbox:receive():payload():data(), "here")
    inbox:receive()
end

--- Processes that have each handled and answered a message, and live on. @return seconds
local function processes(count)
    local me, answers = process.pid(), process.listen("here")
    local began = seconds()
    for _ = 1, count do
        process.send(assert(process.spawn("bench:waiting", HOST)), "hello", me)
        answers:receive()
    end
    return seconds() - began
end

--- Does on another node what `remote` does there; the process that did it lives on, with its names and memberships.
local function elsewhere(node, what, ...)
    local answers = process.listen("done")
    assert(process.spawn("bench:remote", node .. "@" .. HOST, process.pid(), what, ...))
    return (answers:receive())
end

local does = {}

function does.names(scope, from, to)
    return all(from, to, function(i) assert(names.register("name/" .. i, nil, names[scope])) end)
end

--- Processes that each join the same so many groups, all at once.
function does.members(processes_count, groups)
    return all(1, processes_count, function() assert(process.spawn("bench:joiner", HOST, groups)) end)
end

local function joiner(count)
    local groups, list = assert(pg.open("bench:groups")), {}
    for i = 1, count do list[i] = "group/" .. i end
    while not groups:join(list) do time.sleep("5ms") end
    process.inbox():receive()
end

local function remote(boss, what, ...)
    process.send(boss, "done", does[what](...))
    process.inbox():receive()
end

--- Waits until this node knows the last of so many names, then looks them up one after the other. @return seconds
local function lookups(names_count, count)
    for i = 1, names_count do
        while not names.lookup("name/" .. i) do time.sleep("10ms") end
    end
    local began = seconds()
    for i = 1, count do
        if not names.lookup("name/" .. i % names_count + 1) then error("lost a name") end
    end
    return seconds() - began
end

--- Waits until this node sees so many members in each group. @return seconds that a listing of all of them takes
local function listing(groups_count, members)
    local groups = assert(pg.open("bench:groups"))
    for i = 1, groups_count do
        while #groups:get_members("group/" .. i) < members do time.sleep("10ms") end
    end
    local began = seconds()
    for i = 1, groups_count do groups:get_members("group/" .. i) end
    return seconds() - began
end

return {
    waiting = waiting, processes = processes, elsewhere = elsewhere, remote = remote, joiner = joiner, lookups = lookups, listing = listing,
}

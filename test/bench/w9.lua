-- W9: groups over three nodes. Times are taken inside.
local time = require("time")
local pg = require("pg")

local SCOPE = "bench:groups"
local PAYLOAD = string.rep("y", 100)

local function seconds()
    return time.now():unix_nano() / 1e9
end

local function until_seen(groups, group, count)
    while #groups:get_members(group) ~= count do time.sleep("10ms") end
end

local function joiner()
    local inbox = process.inbox()
    local groups = assert(pg.open(SCOPE))
    inbox:receive()
    local joined, err = groups:join("crowd")
    -- The scope has more to do than it takes on: it drains meanwhile.
    while not joined and err:retryable() do
        time.sleep("1ms")
        joined, err = groups:join("crowd")
    end
    assert(joined, err)
    inbox:receive()
end

-- So many joiners beside it; tells when its node sees all of them.
local function joiners(boss, count, all)
    local inbox = process.inbox()
    local groups = assert(pg.open(SCOPE))
    local pids = {}
    for i = 1, count do pids[i] = assert(process.spawn("bench:joiner", "bench:host")) end
    process.send(boss, "ready")
    inbox:receive()
    for _, pid in ipairs(pids) do process.send(pid, "join") end
    until_seen(groups, "crowd", all)
    process.send(boss, "sees")
    inbox:receive()
    for _, pid in ipairs(pids) do process.send(pid, "end") end
end

local function listener(rounds)
    local inbox = process.inbox()
    local groups = assert(pg.open(SCOPE))
    assert(groups:join("hall"))
    local left = rounds
    while true do
        local message = inbox:receive()
        local topic = message:topic()
        if topic == "one" then
            process.send(message:from(), "ack")
        else
            left = left - 1
            if left == 0 then
                left = rounds
                process.send(message:from(), "ack")
            end
        end
    end
end

local function listeners(boss, count, rounds)
    for _ = 1, count do assert(process.spawn("bench:listener", "bench:host", rounds)) end
    process.send(boss, "ready")
end

-- Shares of `count` for each node.
local function share(count, nodes, i)
    return count // nodes + (i <= count % nodes and 1 or 0)
end

local function main(nodes, crowd, hall, single, rounds)
    local me, inbox = process.pid(), process.inbox()
    local groups = assert(pg.open(SCOPE))
    local function on_each(id, count, extra)
        local pids = {}
        for i, node in ipairs(nodes) do
            pids[i] = assert(process.spawn(id, node .. "@bench:host", me, share(count, #nodes, i), extra))
        end
        for _ = 1, #nodes do inbox:receive() end
        return pids
    end
    local function tell(pids, topic)
        for _, pid in ipairs(pids) do process.send(pid, topic) end
    end

    local result = {}
    local coordinators = on_each("bench:joiners", crowd, crowd)
    local start = seconds()
    tell(coordinators, "go")
    for _ = 1, #nodes do inbox:receive() end
    result.join = seconds() - start
    tell(coordinators, "end")
    until_seen(groups, "crowd", 0)

    on_each("bench:listeners", hall, rounds)
    until_seen(groups, "hall", hall)
    result.all_acked = {}
    for i = 1, single do
        start = seconds()
        assert(groups:broadcast("hall", "one", PAYLOAD))
        for _ = 1, hall do inbox:receive() end
        result.all_acked[i] = seconds() - start
    end
    start = seconds()
    for _ = 1, rounds do assert(groups:broadcast("hall", "many", PAYLOAD)) end
    for _ = 1, hall do inbox:receive() end
    result.deliveries = seconds() - start
    return result
end

return {
    main = main,
    joiner = joiner,
    joiners = joiners,
    listener = listener,
    listeners = listeners,
}

local pg = require("pg")
local io = require("io")
local time = require("time")
local json = require("json")

local SCOPE = "groups:scope"

-- Joins, says so to its collector, hands on what it gets, and leaves when told.
local function member(collector, group)
    local grp = assert(pg.open(SCOPE))
    local inbox = process.inbox()
    assert(grp:join(group))
    process.send(collector, "in")
    while true do
        local message = inbox:receive()
        local topic = message:topic()
        if topic == "end" then return end
        if topic == "leave" then
            assert(grp:leave(group))
        else
            process.send(collector, "got", message:payload():data())
        end
    end
end

-- Starts so many members beside it, and counts what they get: a word to the boss for every `count` of them.
local function crowd(boss, host, group, count)
    local inbox = process.inbox()
    local me = process.pid()
    local pids = {}
    for i = 1, count do pids[i] = assert(process.spawn("groups:member", host, me, group)) end
    local got, joined = 0, 0
    while true do
        local message = inbox:receive()
        local topic = message:topic()
        if topic == "in" then
            joined = joined + 1
            if joined == count then process.send(boss, "joined", me) end
        elseif topic == "got" then
            got = got + 1
            if got % count == 0 then process.send(boss, "all", message:payload():data()) end
        else
            for _, pid in ipairs(pids) do process.send(pid, topic) end
        end
    end
end

-- Follows a group on its node, and tells what it saw when asked.
local function watcher(boss, group)
    local grp = assert(pg.open(SCOPE))
    local sub, members = grp:monitor(group)
    local events = sub:channel()
    local asked = process.listen("tell")
    local there, log = {}, {}
    local count = #members
    for _, pid in ipairs(members) do there[pid] = (there[pid] or 0) + 1 end
    process.send(boss, "watching", process.pid())
    while true do
        local result = channel.select({ events:case_receive(), asked:case_receive() })
        if result.channel == events then
            local event = result.value
            local step = event.kind == "member.joined" and 1 or -1
            for _, pid in ipairs(event.data.PIDs) do
                there[pid] = (there[pid] or 0) + step
                assert(there[pid] >= 0, "one left that was not there")
            end
            count = count + step * #event.data.PIDs
            if #event.data.PIDs > 1 then log[#log + 1] = event.kind .. " " .. #event.data.PIDs end
        else
            local seen = #grp:get_members(group)
            process.send(boss, "told", { seen = seen, followed = count, log = log })
        end
    end
end

local function main(host, per_node, ...)
    local nodes = { ... }
    local me = process.pid()
    local joined, all = process.listen("joined"), process.listen("all")
    local watching, told = process.listen("watching"), process.listen("told")
    local grp = assert(pg.open(SCOPE))
    per_node = tonumber(per_node)

    local function spawn(id, node, at, ...)
        for _ = 1, 600 do
            local pid = process.spawn(id, node .. "@" .. at, me, ...)
            if pid then return pid end
            time.sleep("50ms")
        end
        error("node " .. node .. " is not reached")
    end
    -- Asks every watcher until all see so many members.
    local function until_seen(watchers, count)
        for _ = 1, 1200 do
            local answers, same = {}, true
            for i, pid in ipairs(watchers) do
                process.send(pid, "tell")
                answers[i] = told:receive()
                same = same and answers[i].seen == count and answers[i].followed == count
            end
            if same then return answers end
            time.sleep("50ms")
        end
        error("not everybody sees " .. count .. " members")
    end

    local watchers, crowds = {}, {}
    for i, node in ipairs(nodes) do
        watchers[i] = spawn("groups:watcher", node, "groups:inline", "crowd")
        watching:receive()
    end
    for i, node in ipairs(nodes) do crowds[i] = spawn("groups:crowd", node, "groups:inline", host, "crowd", per_node) end
    for _ = 1, #nodes do joined:receive() end
    until_seen(watchers, per_node * #nodes)
    io.print("joined " .. per_node * #nodes)

    for round = 1, 3 do
        assert(grp:broadcast("crowd", "hello", round))
        for _ = 1, #nodes do assert(all:receive() == round) end
    end
    io.print("broadcast")
    assert(grp:broadcast_local("crowd", "hello", "here"))
    assert(all:receive() == "here")

    -- Everybody of the second node leaves, and all see it.
    process.send(crowds[2], "leave")
    until_seen(watchers, per_node * (#nodes - 1))
    io.print("left")

    -- The last node is to be killed now.
    io.print("kill " .. nodes[#nodes])
    table.remove(watchers)
    local answers = until_seen(watchers, per_node * (#nodes - 2))
    local logs = {}
    for i, answer in ipairs(answers) do logs[i] = answer.log end
    io.print("gone " .. json.encode(logs))
    assert(grp:broadcast("crowd", "hello", "still"))
    assert(all:receive() == "still")
    io.print("done")
end

return { main = main, watcher = watcher, crowd = crowd, member = member }

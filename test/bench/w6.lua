-- W6 with Lua actors: between two nodes, payloads of 100 bytes. Times are taken inside.
local time = require("time")

local PAYLOAD = string.rep("x", 100)

local function seconds()
    return time.now():unix_nano() / 1e9
end

local function echo()
    local inbox = process.inbox()
    while true do
        local message = inbox:receive()
        process.send(message:from(), "pong", message:payload():data())
    end
end

-- Answers once for every so many messages.
local function sink(count)
    local inbox = process.inbox()
    while true do
        local message
        for _ = 1, count do
            message = inbox:receive()
        end
        process.send(message:from(), "all")
    end
end

local function ping_pong(partner, warm_up, rounds)
    local pid, inbox = assert(process.spawn("bench:echo", partner .. "@bench:host")), process.inbox()
    local times = {}
    for i = 1 - warm_up, rounds do
        local start = time.now():unix_nano()
        assert(process.send(pid, "ping", PAYLOAD))
        inbox:receive()
        if i > 0 then times[i] = (time.now():unix_nano() - start) / 1000 end
    end
    process.terminate(pid)
    return times
end

local function one_way(partner, count)
    local pid, inbox = assert(process.spawn("bench:sink", partner .. "@bench:host", count)), process.inbox()
    local took
    for _ = 1, 2 do
        local start = seconds()
        for _ = 1, count do
            local sent, err = process.send(pid, "item", PAYLOAD)
            -- The queue to the other node is full: it drains meanwhile.
            while not sent and err:kind() == errors.UNAVAILABLE do
                time.sleep("1ms")
                sent, err = process.send(pid, "item", PAYLOAD)
            end
            assert(sent, err)
        end
        inbox:receive()
        took = seconds() - start
    end
    process.terminate(pid)
    return took
end

return {
    echo = echo,
    sink = sink,
    ping_pong = ping_pong,
    one_way = one_way,
}

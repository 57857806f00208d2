-- The actor workloads W1 to W4, each a process that answers with its figures. Timings are taken inside.
local time = require("time")

local function seconds()
    return time.now():unix_nano() / 1e9
end

local function echo()
    local inbox = process.inbox()
    while true do
        local message = inbox:receive():payload():data()
        process.send(message.from, "pong", { i = message.i })
    end
end

-- W1: A sends {from, i}, B answers {i}, A waits before the next.
local function ping_pong(host, warm_up, rounds)
    local me, inbox = process.pid(), process.inbox()
    local b = assert(process.spawn("bench:echo", host))
    local function round(n)
        for i = 1, n do
            process.send(b, "ping", { from = me, i = i })
            inbox:receive()
        end
    end
    round(warm_up)
    local start = seconds()
    round(rounds)
    local took = seconds() - start
    process.terminate(b)
    return took
end

local function fan_sender(to, id, count)
    process.inbox():receive()
    for k = 1, count do
        process.send(to, "n", { id = id, k = k })
    end
end

-- W2: 100 actors, told to go at once, send 2,000 messages each to one.
local function fan_in(host, senders, each)
    local me, inbox = process.pid(), process.listen("n")
    local pids = {}
    for i = 1, senders do
        pids[i] = assert(process.spawn("bench:fan_sender", host, me, i, each))
    end
    local start = seconds()
    for _, pid in ipairs(pids) do
        process.send(pid, "go")
    end
    for _ = 1, senders * each do
        inbox:receive()
    end
    return seconds() - start
end

local function greet(to, i)
    process.send(to, "hi", { i = i })
end

-- W3a: spawn many, each sends one message and ends.
local function spawn_many(host, count)
    local me, inbox = process.pid(), process.listen("hi")
    local in_flight = math.min(64, count)
    local start = seconds()
    local next_index, done = 0, channel.new(in_flight)
    for _ = 1, in_flight do
        coroutine.spawn(function()
            while next_index < count do
                next_index = next_index + 1
                assert(process.spawn("bench:greet", host, me, next_index))
            end
            done:send(true)
        end)
    end
    for _ = 1, count do
        inbox:receive()
    end
    local took = seconds() - start
    for _ = 1, in_flight do
        done:receive()
    end
    return took
end

-- W3b: live actors that have handled and answered one message; the caller measures the memory.
local function populate(host, count)
    local me, inbox = process.pid(), process.inbox()
    for i = 1, count do
        local pid = assert(process.spawn("bench:echo", host))
        process.send(pid, "ping", { from = me, i = i })
        inbox:receive()
    end
    return count
end

local function ring_member(next_pid)
    local inbox = process.inbox()
    local target = next_pid
    while true do
        local message = inbox:receive()
        local token = message:payload():data()
        if message:topic() == "next" then
            target = token
        elseif token.left == 0 then
            process.send(token.boss, "over")
        else
            process.send(target, "token", { left = token.left - 1, boss = token.boss })
        end
    end
end

-- W4: a ring of actors passes one token with a counter.
local function ring(host, size, warm_laps, laps)
    local me, inbox = process.pid(), process.inbox()
    local first = assert(process.spawn("bench:ring_member", host))
    local head = first
    for _ = 2, size do
        head = assert(process.spawn("bench:ring_member", host, head))
    end
    process.send(first, "next", head)
    local function run(n)
        process.send(head, "token", { left = n * size, boss = me })
        inbox:receive()
    end
    run(warm_laps)
    local start = seconds()
    run(laps)
    return seconds() - start
end

return {
    echo = echo,
    ping_pong = ping_pong,
    fan_sender = fan_sender,
    fan_in = fan_in,
    greet = greet,
    spawn_many = spawn_many,
    populate = populate,
    ring_member = ring_member,
    ring = ring,
}

-- W7 through the module store: so many coroutines of one process write, or read what a majority confirms. Times are taken inside.
local store = require("store")
local time = require("time")

local KEYS = 10000
local VALUE = string.rep("x", 100)

local function seconds()
    return time.now():unix_nano() / 1e9
end

local function key(i)
    return string.format("bench/%08d", i % KEYS)
end

local function load(kind, clients, total)
    local s = assert(store.get("bench:store"))
    local next, times = 0, {}
    local done = channel.new(clients)
    local from = seconds()
    for _ = 1, clients do
        coroutine.spawn(function()
            while next < total do
                local i = next
                next = next + 1
                local began = seconds()
                if kind == "put" then assert(s:set(key(i), VALUE)) else assert(s:get(key(i))) end
                times[#times + 1] = seconds() - began
            end
            done:send(true)
        end)
    end
    for _ = 1, clients do done:receive() end
    local took = seconds() - from
    table.sort(times)
    local function share(part) return times[math.min(#times, math.floor(#times * part) + 1)] * 1000 end
    return { seconds = took, p50 = share(0.5), p99 = share(0.99) }
end

return { load = load }

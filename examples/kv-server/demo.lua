-- Uses the server as any process would.

local io = require("io")
local time = require("time")
local kv = require("kv")

local function show(what, value, err)
    if err then
        io.print(what .. ": " .. err:kind() .. ", " .. err)
    else
        io.print(what .. ": " .. tostring(value))
    end
end

local function main()
    local store = kv.connect("store", "2s")

    show("put color=red", store:request("put", "color", "red"))
    show("get color", store:request("get", "color"))
    show("put color=blue, before", store:request("put", "color", "blue"))
    show("delete color, before", store:request("delete", "color"))
    show("get color", store:request("get", "color"))

    -- Ten requests under way at once: each coroutine gets the answer to its own.
    local done = channel.new(10)
    for i = 1, 10 do
        coroutine.spawn(function()
            assert(store:request("put", "n" .. i, i) == nil)
            done:send(store:request("get", "n" .. i) == i)
        end)
    end
    local right = 0
    for _ = 1, 10 do
        right = right + (done:receive() and 1 or 0)
    end
    io.print("right answers to 10 concurrent clients: " .. right)

    -- The server needs 300 ms, the client waits 100. The late answer is not taken for that of a later request.
    local hasty = kv.connect("store", "100ms")
    show("slow get", hasty:request("slow_get", "n1"))
    time.sleep("300ms")
    show("get n2", store:request("get", "n2"))

    show("ask nobody", kv.connect("nobody", "2s"):request("get", "color"))
end

return { main = main }

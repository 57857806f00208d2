-- Hands orders to clients and prints what they say. One JSON object a line, both ways.

local io = require("io")
local json = require("json")

local function main()
    local out, events = process.listen("out"), process.events()
    local clients, names = {}, {}
    local over = channel.new(1)

    local function give(order)
        local pid = clients[order.c]
        if not pid then
            local host = "coordination:" .. (order.host or "clients")
            pid = assert(process.spawn_monitored("coordination:client", host, process.pid(), order.c))
            clients[order.c], names[pid] = pid, order.c
        end
        process.send(pid, "order", order)
    end

    coroutine.spawn(function()
        while true do
            local line = io.readline()
            if not line then break end
            give(assert(json.decode(line)))
        end
        over:send(true)
    end)

    while true do
        local got = channel.select({ out:case_receive(), events:case_receive(), over:case_receive() })
        if got.channel == over then return end
        if got.channel == out then
            io.print(got.value)
        elseif got.value.kind == process.event.EXIT then
            local pid = got.value.from
            local client = names[pid]
            names[pid] = nil
            if clients[client] == pid then clients[client] = nil end
            io.print((json.encode({ c = client, ev = "exit", pid = pid })))
        elseif got.value.kind == process.event.CANCEL then
            return
        end
    end
end

return { main = main }

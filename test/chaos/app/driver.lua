-- Hands orders to clients and prints what they say. One JSON object a line, both ways. Of whatever app: clients are its entry `client`, on its
-- host `clients` or the one that their first order names.

local io = require("io")
local json = require("json")

local function main()
    local namespace = process.id():match("^(.*):")
    local out, events = process.listen("out"), process.events()
    local clients, names = {}, {}
    local over = channel.new(1)

    local function give(text)
        local order = json.decode(text)
        if not order then return end
        local pid = clients[order.c]
        if not pid then
            local err
            local host = namespace .. ":" .. (order.host or "clients")
            pid, err = process.spawn_monitored(namespace .. ":client", host, process.pid(), order.c)
            if not pid then
                io.print((json.encode({ c = order.c, id = order.id, failed = err:message() })))
                return
            end
            clients[order.c], names[pid] = pid, order.c
        end
        process.send(pid, "order", order)
    end

    coroutine.spawn(function()
        while true do
            local line, err = io.readline()
            if not line then break end
            give(line)
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
            if client then
                names[pid] = nil
                if clients[client] == pid then clients[client] = nil end
                io.print((json.encode({ c = client, ev = "exit", pid = pid })))
            end
        elseif got.value.kind == process.event.CANCEL then
            return
        end
    end
end

return { main = main }

local pg = require("pg")

-- Joins what it is told, answers broadcasts to whoever sent them, ends when told so.
local function main(parent, scope, groups)
    local grp = assert(pg.open(scope))
    assert(grp:join(groups))
    process.send(parent, "joined", process.pid())
    local inbox = process.inbox()
    while true do
        local message = inbox:receive()
        local topic, payload = message:topic(), message:payload()
        local value = payload and payload:data()
        if topic == "end" then return end
        if topic == "fail" then error("as told") end
        if topic == "leave" then
            assert(grp:leave(value))
            process.send(message:from(), "left", process.pid())
        else
            process.send(message:from(), "echo", { topic = topic, value = value, pid = process.pid() })
        end
    end
end

return { main = main }

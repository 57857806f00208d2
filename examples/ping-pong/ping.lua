-- Spawns pong, sends it a ball, and waits for it to come back; again and again.

local io = require("io")

local function main(rounds)
    rounds = tonumber(rounds) or 3 -- arguments of the command line are strings

    -- spawn returns as soon as the new process is ready to run. Fallible functions return nil and an error; assert raises it.
    local pong = assert(process.spawn("game:pong", "game:processes"))
    local inbox = process.inbox()

    for round = 1, rounds do
        assert(process.send(pong, "ball", round))
        local message = inbox:receive() -- suspends this process until there is a message
        io.print("ping " .. round .. ", " .. message:topic() .. " " .. message:payload():data())
    end

    process.send(pong, "stop")
end

return { main = main }

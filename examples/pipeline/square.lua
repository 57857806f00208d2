-- The middle stage: receives numbers, passes on their squares.

local outlet = require("outlet")

local function main(next_stage, window)
    local out = outlet.new(next_stage, window) -- listens to "ack" first: the inbox takes every topic that nobody listens to
    local inbox = process.inbox()
    while true do
        local message = inbox:receive()
        if message:topic() == "end" then
            return out:finish()
        end
        local number = message:payload():data()
        out:send(number * number) -- waits while the next stage is behind, and so does whoever waits for our acknowledgement
        process.send(message:from(), "ack")
    end
end

return { main = main }

-- Sends every ball back to where it came from.

local function main()
    local inbox = process.inbox()
    while true do
        local message = inbox:receive()
        if message:topic() == "stop" then
            return -- the end of main is the end of the process
        end
        process.send(message:from(), "pong", message:payload():data())
    end
end

return { main = main }

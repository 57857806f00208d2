-- The last stage: adds up what it receives, slowly, and tells the total at the end.

local time = require("time")

local function main(report_to)
    local inbox = process.inbox()
    local total = 0
    while true do
        local message = inbox:receive()
        if message:topic() == "end" then
            process.send(report_to, "total", total)
            return
        end
        time.sleep("2ms")
        total = total + message:payload():data()
        process.send(message:from(), "ack")
    end
end

return { main = main }

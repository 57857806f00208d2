-- Divides 100 by 3, 2, 1 and 0. It does not guard against the zero: whoever supervises it starts it afresh.

local time = require("time")

local function main(whose)
    local events = process.events()
    local ticks = time.ticker("150ms"):channel()
    local divisor = 3
    while true do
        local got = channel.select({ events:case_receive(), ticks:case_receive() })
        if got.channel == events then
            return -- the only event it can get is CANCEL: asked to stop
        end
        print(whose .. ": 100 // " .. divisor .. " = " .. 100 // divisor) -- 100 // 0 raises an error
        divisor = divisor - 1
    end
end

return { main = main }

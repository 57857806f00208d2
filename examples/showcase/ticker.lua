-- Makes the price, and tells it to every subscriber. Whoever sends "subscribe" is one, until it ends.

local time = require("time")

local INTERVAL = "250ms"
local STANDSTILL = 20 -- every so many ticks the price stays as it is

local function moved(price)
    local step = math.random(1, 3)
    local rises = math.random(100) > price - 50 -- the further from 100, the more it is drawn back
    return price + (rises and step or -step)
end

local function main()
    local subscriptions = process.listen("subscribe", { message = true })
    local events = process.events()
    local ticks = time.ticker(INTERVAL):channel()
    assert(process.registry.register("ticker"))

    local subscribers = {}
    local price, tick = 100, 0
    while true do
        local got = channel.select({ events:case_receive(), subscriptions:case_receive(), ticks:case_receive() })
        if got.channel == events then
            if got.value.kind == process.event.CANCEL then
                return
            end
            subscribers[got.value.from] = nil -- EXIT of a subscriber
        elseif got.channel == subscriptions then
            local pid = got.value:from()
            if process.monitor(pid) then
                subscribers[pid] = true
            end
        else
            tick = tick + 1
            if tick % STANDSTILL ~= 0 then
                price = moved(price)
            end
            for pid in pairs(subscribers) do
                process.send(pid, "price", price)
            end
        end
    end
end

return { main = main }

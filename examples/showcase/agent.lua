-- Works abroad: subscribes to the ticker of the node that it runs on, and sends the price home, once a second.

local time = require("time")

local function main(home)
    local prices = process.listen("price")
    local events = process.events()
    local ticks = time.ticker("1s"):channel()
    while not process.registry.lookup("ticker") do
        time.sleep("100ms") -- the market of this node is not open yet
    end
    assert(process.send("ticker", "subscribe"))

    local price
    while true do
        local got = channel.select({ events:case_receive(), prices:case_receive(), ticks:case_receive() })
        if got.channel == events then
            return
        elseif got.channel == prices then
            price = got.value
        elseif price then
            process.send(home, "abroad", price)
        end
    end
end

return { main = main }

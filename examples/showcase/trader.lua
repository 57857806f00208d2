-- Hears the price, decides by its strategy, trades through the bank.

local bank = require("bank")

-- How much to buy at this price; negative: sell.
local strategies = {
    steady = function(price)
        return price < 100 and 1 or -1
    end,
    follower = function(price, last)
        return price > last and 1 or -1
    end,
    bold = function(price, last)
        return 6 // (last - price) -- the bug: raises when the price did not change
    end,
}

local function main(name, strategy)
    local decide = strategies[strategy]
    local prices = process.listen("price")
    local events = process.events()

    -- assert makes a failure of any step a failure of the process; then the supervisor tries again.
    assert(process.registry.register(name))
    local account = assert(bank.request("open", { who = name }))
    assert(process.send("ticker", "subscribe"))
    print(name .. " trades " .. strategy .. ", with " .. account.coins .. " coins and " .. account.iron .. " iron")

    local last
    while true do
        local got = channel.select({ events:case_receive(), prices:case_receive() })
        if got.channel == events then
            return
        end
        local price = got.value
        if last then
            -- A refusal by the bank is part of the business.
            bank.request("trade", { who = name, amount = decide(price, last), price = price })
        end
        last = price
    end
end

return { main = main }

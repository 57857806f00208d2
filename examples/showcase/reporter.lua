-- One line a second: the price, what each trader is worth, and the prices on other nodes.

local bank = require("bank")
local time = require("time")

--- `node-2 101, node-3 98`
local function abroad_text(abroad)
    local parts = {}
    for node, price in pairs(abroad) do
        parts[#parts + 1] = node .. " " .. price
    end
    table.sort(parts)
    return #parts == 0 and "" or " | abroad: " .. table.concat(parts, ", ")
end

local function main()
    local prices = process.listen("price")
    local events = process.events()
    local news = process.listen("abroad")
    local ticks = time.ticker("1s"):channel()
    assert(process.registry.register("reporter"))
    assert(process.send("ticker", "subscribe"))

    local price, abroad = 100, {}
    while true do
        local got = channel.select({
            events:case_receive(),
            prices:case_receive(),
            news:case_receive(),
            ticks:case_receive(),
        })
        if got.channel == events then
            return
        elseif got.channel == prices then
            price = got.value
        elseif got.channel == news then
            abroad = got.value
        else
            local report = assert(bank.request("report"))
            local names = {}
            for name in pairs(report.accounts) do
                names[#names + 1] = name
            end
            table.sort(names)
            local parts = {}
            for i, name in ipairs(names) do
                local account = report.accounts[name]
                -- The name of a process vanishes with the process.
                local is_here = process.registry.lookup(name) ~= nil
                parts[i] = name .. " " .. account.coins + account.iron * price .. (is_here and "" or " (down)")
            end
            local worth = table.concat(parts, ", ")
            print("iron " .. price .. " | " .. worth .. " | " .. report.trades .. " trades" .. abroad_text(abroad))
        end
    end
end

return { main = main }

-- One line a second: the price, and what each trader is worth.

local bank = require("bank")
local time = require("time")

local function main()
    local prices = process.listen("price")
    local events = process.events()
    local ticks = time.ticker("1s"):channel()
    assert(process.send("ticker", "subscribe"))

    local price = 100
    while true do
        local got = channel.select({ events:case_receive(), prices:case_receive(), ticks:case_receive() })
        if got.channel == events then
            return
        elseif got.channel == prices then
            price = got.value
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
            print("iron " .. price .. " | " .. table.concat(parts, ", ") .. " | " .. report.trades .. " trades")
        end
    end
end

return { main = main }

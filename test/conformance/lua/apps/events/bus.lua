local events = require("events")
local time = require("time")
local t = require("expect")

-- What arrives within a moment: the kinds of the events, joined.
local function kinds(sub)
    local list = {}
    while true do
        local r = channel.select({ sub:channel():case_receive(), default = true })
        if r.default or not r.ok then return table.concat(list, " ") end
        list[#list + 1] = r.value.kind
    end
end

local function main()
    local case, done = t.cases()

    case("a subscription gets what is sent after it, its own events too", function()
        local sub, err = t.count(2, events.subscribe("orders"))
        t.equal(err, nil)
        t.equal(type(sub), "userdata")
        t.values({ true, nil, n = 2 }, events.send("orders", "created", "o1", { amount = 3 }))
        t.values({ true, nil, n = 2 }, events.send("orders", "paid", "o1"))
        t.equal((sub:channel():receive()), { system = "orders", kind = "created", path = "o1", data = { amount = 3 } })
        t.equal((sub:channel():receive()), { system = "orders", kind = "paid", path = "o1" })
        t.truthy(sub:channel() == sub:channel())
        t.values({ true, n = 1 }, sub:close())
        t.values({ true, n = 1 }, sub:close())
        t.values({ nil, false, n = 2 }, sub:channel():receive())
    end)
    case("after close nothing comes, what was there can be read", function()
        local sub = events.subscribe("late")
        events.send("late", "before", "p")
        time.sleep("20ms")
        sub:close()
        events.send("late", "after", "p")
        t.equal((sub:channel():receive()).kind, "before")
        t.values({ nil, false, n = 2 }, sub:channel():receive())
    end)
    case("patterns of system and kind", function()
        local wanted = {
            { "*", nil, "a b c d" },
            { "shop", nil, "a" },
            { "shop.*", nil, "b c d" },
            { "shop.eu", nil, "b" },
            { "shop.eu.*", nil, "c" },
            { "shop.*.north", nil, "c d" },
            { "shop.**", nil, "b c d" },
            { "shop.**.north", nil, "c d" },
            { "shop.eu*", nil, "b c" },
            { "nothing", nil, "" },
            { "*", "a", "a" },
            { "*", "", "a b c d" },
            { "*", "b*", "b" },
        }
        for _, row in ipairs(wanted) do
            local sub = assert(events.subscribe(row[1], row[2]))
            events.send("shop", "a", "p")
            events.send("shop.eu", "b", "p")
            events.send("shop.eu.north", "c", "p")
            events.send("shop.us.north", "d", "p")
            time.sleep("10ms")
            t.equal(kinds(sub), row[3], row[1] .. " " .. tostring(row[2]))
            sub:close()
        end
    end)
    case("what is missing is told", function()
        t.fails("Invalid", "system pattern is required", events.subscribe(""))
        t.fails("Invalid", "system is required", events.send("", "k", "p"))
        t.fails("Invalid", "kind is required", events.send("s", "", "p"))
        t.fails("Invalid", "path is required", events.send("s", "k", ""))
        t.raises("string expected", events.subscribe)
        t.raises("string expected", events.send, "s", "k")
    end)
    case("a slow reader loses nothing and order is kept", function()
        local sub = events.subscribe("burst")
        t.equal(process.exec("events:publisher", "events:processes", "burst", 300), 300)
        for i = 1, 300 do t.equal((sub:channel():receive()).data, i) end
        sub:close()
    end)
    return done()
end

return { main = main }

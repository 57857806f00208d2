-- time.sleep and time.after (lua-core.md §13.2). Waits are short; nothing here says how long one may take at most.
local time = require("time")
local funcs = require("funcs")
local t = require("expect")

local function main()
    local case, done = t.cases()

    case("sleep returns nothing, and not before its time", function()
        for _, d in ipairs({ "3ms", 3 * time.MILLISECOND, time.parse_duration("3ms") }) do
            local start = os.clock()
            t.count(0, time.sleep(d))
            t.truthy(os.clock() - start >= 0.003, "slept long enough")
        end
    end)
    case("others run meanwhile", function()
        local seen = {}
        coroutine.spawn(function() time.sleep("2ms") seen[#seen + 1] = "b" end)
        coroutine.spawn(function() seen[#seen + 1] = "a" end)
        time.sleep("20ms")
        t.equal(seen, { "a", "b" })
    end)
    case("zero and less return at once", function()
        local ran = false
        coroutine.spawn(function() ran = true end)
        t.count(0, time.sleep(0))
        t.count(0, time.sleep("0"))
        t.count(0, time.sleep(-5))
        t.count(0, time.sleep("-1h"))
        t.count(0, time.sleep(time.parse_duration("-1s")))
        t.equal(ran, false)
    end)
    case("the shortest wait is at least one turn", function()
        local ran = false
        coroutine.spawn(function() ran = true end)
        t.count(0, time.sleep(1))
        t.equal(ran, true)
    end)
    case("sleep refuses a text that is no duration", function()
        for _, text in ipairs({ "soon", "5", "", "1 s" }) do
            local err = t.fails("Invalid", "", time.sleep(text))
            t.equal(err:retryable(), false)
        end
        t.fails("Invalid", "", time.sleep(0 / 0))
    end)
    case("sleep raises for other types", function()
        t.raises("bad argument #1 to 'sleep'", time.sleep)
        t.raises("bad argument #1 to 'sleep'", time.sleep, nil)
        t.raises("bad argument #1 to 'sleep'", time.sleep, {})
        t.raises("bad argument #1 to 'sleep'", time.sleep, true)
    end)
    case("sleep works in pcall and in coroutines of a script", function()
        t.values({ true, n = 1 }, pcall(time.sleep, 1))
        local co = coroutine.wrap(function() time.sleep(1) return "end" end)
        t.equal(co(), "end")
    end)
    case("after gives a channel with one Time, which then closes", function()
        for _, d in ipairs({ "2ms", 2 * time.MILLISECOND, time.parse_duration("2ms") }) do
            local start = os.clock()
            local ch = t.count(1, time.after(d))
            local moment, ok = t.count(2, ch:receive())
            t.truthy(os.clock() - start >= 0.002, "waited long enough")
            t.equal(type(moment:unix()), "number")
            t.equal(moment:location():string(), "Local")
            t.equal(ok, true)
            t.values({ nil, false, n = 2 }, ch:receive())
        end
    end)
    case("the Time waits for who comes late", function()
        local ch = time.after(1)
        time.sleep("5ms")
        t.equal(select(2, ch:receive()), true)
        t.equal(select(2, ch:receive()), false)
    end)
    case("after limits a select", function()
        local work, limit = channel.new(), time.after("2ms")
        t.equal(channel.select({ work:case_receive(), limit:case_receive() }).channel == limit, true)
    end)
    case("after wants more than no time", function()
        for _, d in ipairs({ 0, -1, "0", "-1s", "soon", "", time.parse_duration("0"), time.parse_duration("-1s"), 0 / 0 }) do
            local err = t.fails("Invalid", "time.after: duration must be > 0", time.after(d))
            t.equal(err:retryable(), false)
        end
    end)
    case("a chunk cannot wait at its top level", function()
        for _, name in ipairs({ "sleep", "after", "timer", "ticker" }) do
            local entry = "time:" .. (name == "sleep" and "sleeps" or name) .. "_at_top"
            local err = select(2, t.count(2, funcs.call(entry)))
            t.contains(err, "time." .. name)
        end
    end)
    return done()
end

return { main = main }

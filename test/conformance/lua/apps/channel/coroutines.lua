local time = require("time")
local t = require("expect")

local function main()
    local case, done = t.cases()

    case("spawn gives a thread and starts later, in order", function()
        local log = {}
        local thread = t.count(1, coroutine.spawn(function(...) log[#log + 1] = "first " .. select("#", ...) end))
        t.equal(type(thread), "thread")
        coroutine.spawn(function() log[#log + 1] = "second" end)
        t.equal(log, {})
        t.equal(coroutine.status(thread), "suspended")
        coroutine.yield()
        t.equal(log, { "first 0", "second" })
        t.equal(coroutine.status(thread), "dead")
    end)
    case("spawn takes functions only", function()
        t.raises("function expected", coroutine.spawn)
        t.raises("function expected", coroutine.spawn, "x")
        t.raises("function expected", coroutine.spawn, coroutine.create(print))
    end)
    case("return values are ignored", function()
        coroutine.spawn(function() return nil, "no failure" end)
        coroutine.yield()
    end)
    case("spawned ones can spawn", function()
        local result = channel.new()
        coroutine.spawn(function()
            coroutine.spawn(function() result:send("inner") end)
        end)
        t.equal((result:receive()), "inner")
    end)
    case("a bare yield gives up the turn", function()
        local log = {}
        for _, name in ipairs({ "a", "b" }) do
            coroutine.spawn(function()
                for i = 1, 2 do
                    log[#log + 1] = name .. i
                    coroutine.yield()
                end
            end)
        end
        for _ = 1, 4 do coroutine.yield() end
        t.equal(log, { "a1", "b1", "a2", "b2" })
        t.equal(select("#", coroutine.yield("ignored")), 0)
    end)
    case("between two waiting calls nobody else runs", function()
        local runs = 0
        coroutine.spawn(function() runs = runs + 1 end)
        for i = 1, 10000 do local _ = i end
        process.get_options()
        t.equal(runs, 0)
        coroutine.yield()
        t.equal(runs, 1)
    end)
    case("a waiting call inside resume suspends the whole chain", function()
        local gate, log = channel.new(), {}
        coroutine.spawn(function()
            local co = coroutine.create(function()
                log[#log + 1] = gate:receive()
                local again = coroutine.yield("yielded")
                log[#log + 1] = again
                return "end"
            end)
            t.values({ true, "yielded", n = 2 }, coroutine.resume(co))
            t.values({ true, "end", n = 2 }, coroutine.resume(co, "again"))
            t.equal(coroutine.status(co), "dead")
            t.values({ false, "cannot resume dead coroutine", n = 2 }, coroutine.resume(co))
            log[#log + 1] = "done"
        end)
        coroutine.yield()
        t.equal(log, {})
        gate:send("through")
        coroutine.yield()
        t.equal(log, { "through", "again", "done" })
    end)
    case("who waits is suspended, and cannot be resumed by others", function()
        local gate, main = channel.new(), coroutine.running()
        local inner
        local waiting = coroutine.spawn(function() gate:receive() end)
        local outer = coroutine.spawn(function()
            inner = coroutine.create(function() gate:receive() end)
            coroutine.resume(inner)
        end)
        local seen
        local yielding = coroutine.spawn(function()
            seen = { coroutine.status(main), coroutine.status(coroutine.running()) }
            coroutine.yield()
        end)
        coroutine.yield()
        t.equal(seen, { "suspended", "running" })
        t.equal({ coroutine.status(waiting), coroutine.status(outer), coroutine.status(inner), coroutine.status(yielding) },
            { "suspended", "suspended", "normal", "suspended" })
        t.equal(coroutine.wrap(function() return coroutine.status(main) end)(), "normal")
        t.equal(coroutine.status(main), "running")
        for _, thread in ipairs({ waiting, outer, inner, yielding, main }) do
            t.values({ false, "cannot resume non-suspended coroutine", n = 2 }, coroutine.resume(thread))
        end
        gate:send(1)
        gate:send(2)
        coroutine.yield()
        t.equal({ coroutine.status(waiting), coroutine.status(outer), coroutine.status(inner) }, { "dead", "dead", "dead" })
    end)
    case("create, resume, yield, wrap and status", function()
        local co = coroutine.create(function(a, b)
            local c, d = coroutine.yield(a + b, a * b)
            error(c .. d)
        end)
        t.equal(coroutine.status(co), "suspended")
        t.values({ true, 5, 6, n = 3 }, coroutine.resume(co, 2, 3))
        local ok, err = t.count(2, coroutine.resume(co, "x", "y"))
        t.equal(ok, false)
        t.contains(err, "xy")
        t.equal(coroutine.status(co), "dead")
        local wrapped = coroutine.wrap(function(...) return select("#", ...), coroutine.running() end)
        local count, inner = wrapped(1, nil, 3)
        t.equal(count, 3)
        t.equal(type(inner), "thread")
        t.raises("cannot resume dead coroutine", wrapped)
    end)
    case("running and isyieldable", function()
        local inside, yieldable
        local thread = coroutine.spawn(function()
            inside = coroutine.running()
            yieldable = coroutine.isyieldable()
        end)
        coroutine.yield()
        t.truthy(inside == thread)
        t.equal(yieldable, true)
        local here, is_main = coroutine.running()
        t.truthy(here == nil or is_main == true)
    end)
    case("sleepers run side by side", function()
        local log, finished = {}, channel.new()
        for i = 3, 1, -1 do
            coroutine.spawn(function()
                time.sleep(i * 15 * time.MILLISECOND)
                log[#log + 1] = i
                finished:send(true)
            end)
        end
        for _ = 1, 3 do finished:receive() end
        t.equal(log, { 1, 2, 3 })
    end)
    case("pcall in a spawned coroutine catches", function()
        local result = channel.new(1)
        coroutine.spawn(function() result:send({ pcall(error, "caught") }) end)
        t.equal((result:receive()), { false, "caught" })
    end)
    return done()
end

return { main = main }

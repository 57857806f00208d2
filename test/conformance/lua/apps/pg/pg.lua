local pg = require("pg")
local time = require("time")
local channel = require("channel")
local t = require("expect")

local HOST = "pg:host"

local function sorted(list)
    local copy = { table.unpack(list) }
    table.sort(copy)
    return copy
end

-- A list with `pid` so many times.
local function times(pid, count)
    local list = {}
    for i = 1, count do list[i] = pid end
    return list
end

local function receive(ch)
    local result = channel.select({ ch:case_receive(), time.after("10s"):case_receive() })
    assert(result.channel == ch, "nothing came")
    return result.value, result.ok
end

local function main()
    local case, done = t.cases()
    local me = process.pid()
    local grp = t.count(1, pg.open("pg:scope"))
    local joined, echo = process.listen("joined"), process.listen("echo")
    local left = process.listen("left")

    local function member(groups, scope)
        local pid = assert(process.spawn("pg:member", HOST, me, scope or "pg:scope", groups))
        t.equal((receive(joined)), pid)
        return pid
    end
    local function gone(group)
        for _ = 1, 500 do
            if #grp:get_members(group) == 0 then return end
            time.sleep("10ms")
        end
        error("members of " .. group .. " stay")
    end

    case("opening", function()
        t.equal(type(grp), "userdata")
        t.equal(tostring(grp), "pg.Instance{pg:scope}")
        t.fails("Invalid", "resource id is required", pg.open(""))
        t.equal(t.fails("Internal", "failed to acquire pg scope", pg.open("pg:none")):retryable(), false)
        t.fails("Internal", "failed to acquire pg scope", pg.open("pg:stopped"))
        t.fails("Internal", "failed to acquire pg scope", pg.open("scope"))
        t.fails("Invalid", "resource is not a pg scope", pg.open("pg:host"))
        t.raises("string expected", pg.open)
        t.raises("string expected", pg.open, {})
        t.raises("", function() grp.join("x") end)
    end)
    case("joining twice takes leaving twice", function()
        t.values({ true, nil, n = 2 }, grp:join("a"))
        t.values({ true, nil, n = 2 }, grp:join("a"))
        t.values({ { me, me }, nil, n = 2 }, grp:get_members("a"))
        t.values({ { me, me }, nil, n = 2 }, grp:get_local_members("a"))
        t.values({ true, nil, n = 2 }, grp:leave("a"))
        t.values({ { me }, nil, n = 2 }, grp:get_members("a"))
        t.values({ { "a" }, nil, n = 2 }, grp:which_groups())
        t.values({ { "a" }, nil, n = 2 }, grp:which_local_groups())
        t.values({ true, nil, n = 2 }, grp:leave("a"))
        t.values({ {}, nil, n = 2 }, grp:get_members("a"))
        t.values({ {}, nil, n = 2 }, grp:which_groups())
        local err = t.fails("Invalid", "not joined", grp:leave("a"))
        t.equal(err:retryable(), false)
    end)
    case("batches", function()
        t.values({ true, nil, n = 2 }, grp:join({ "a", "b", "a", 5, true }))
        t.equal(grp:get_members("a"), { me, me })
        t.equal(sorted(grp:which_groups()), { "a", "b" })
        t.values({ true, nil, n = 2 }, grp:leave({ "none", "a", "a" }))
        t.equal(grp:which_groups(), { "b" })
        t.fails("Invalid", "not joined", grp:leave({ "none", "a" }))
        t.values({ true, nil, n = 2 }, grp:leave({ "b" }))
        t.values({ true, nil, n = 2 }, grp:join({ print, grp, {}, "c", coroutine.create(print), "d" }))
        t.equal(sorted(grp:which_groups()), { "c", "d" })
        t.values({ true, nil, n = 2 }, grp:leave({ print, "c", "d" }))
    end)
    case("arguments", function()
        for _, fn in ipairs({ grp.join, grp.leave }) do
            t.fails("Invalid", "group name is required", fn(grp, ""))
            t.fails("Invalid", "group name is required", fn(grp, { "a", "" }))
            t.fails("Invalid", "groups table must not be empty", fn(grp, {}))
            t.fails("Invalid", "groups table must not be empty", fn(grp, { 1, true }))
            for _, wrong in ipairs({ 5, true, print }) do
                t.fails("Invalid", "group name (string) or groups table required", fn(grp, wrong))
            end
            t.fails("Invalid", "group name (string) or groups table required", fn(grp))
        end
        t.fails("Invalid", "1 to 255 bytes", grp:join(string.rep("g", 256)))
        for _, fn in ipairs({ grp.get_members, grp.get_local_members }) do
            t.fails("Invalid", "group name is required", fn(grp, ""))
            t.raises("string expected", fn, grp)
        end
        for _, fn in ipairs({ grp.broadcast, grp.broadcast_local }) do
            t.fails("Invalid", "group name is required", fn(grp, "", "x"))
            t.fails("Invalid", "topic is required", fn(grp, "a", ""))
            t.fails("Invalid", "cannot send to @ topics", fn(grp, "a", "@x"))
            t.raises("string expected", fn, grp, "a")
            t.raises("string expected", fn, grp, {}, "x")
        end
        local sub, members, err = t.count(3, grp:monitor(""))
        t.values({ nil, nil, n = 2 }, sub, members)
        t.error(err, "Invalid", "group name is required")
        t.raises("string expected", grp.monitor, grp)
    end)
    case("names are bytes", function()
        local name = "\0\255 ü" .. string.rep("x", 200)
        assert(grp:join(name))
        t.equal(grp:which_groups(), { name })
        t.equal(grp:get_members(name), { me })
        assert(grp:leave(name))
    end)
    case("scopes are apart", function()
        local other = assert(pg.open("pg:other"))
        assert(grp:join("same"))
        t.equal(other:get_members("same"), {})
        t.fails("Invalid", "not joined", other:leave("same"))
        assert(grp:leave("same"))
        other:release()
    end)
    case("broadcasts reach every slot, in order, this process among them", function()
        local one, two = member("cast"), member({ "cast", "cast" })
        assert(grp:join("cast"))
        local own = process.listen("hello")
        t.values({ true, nil, n = 2 }, grp:broadcast("cast", "hello", { n = 1, list = { 1, 2 } }))
        t.equal((receive(own)), { n = 1, list = { 1, 2 } })
        local from = {}
        for i = 1, 3 do
            local answer = receive(echo)
            t.equal(answer.value, { n = 1, list = { 1, 2 } })
            from[i] = answer.pid
        end
        t.equal(sorted(from), sorted({ one, two, two }))
        process.unlisten(own)
        assert(grp:leave("cast"))
        t.values({ true, nil, n = 2 }, grp:broadcast_local("cast", "again"))
        for _ = 1, 3 do receive(echo) end
        t.values({ true, nil, n = 2 }, grp:broadcast("nobody", "x", 1))
        t.values({ true, nil, n = 2 }, grp:broadcast_local("nobody", "x"))
        process.send(one, "end")
        process.send(two, "fail")
        gone("cast")
    end)
    case("what is broadcast is a copy", function()
        local one = member("copies")
        local value = { n = 1 }
        assert(grp:broadcast("copies", "value", value))
        value.n = 2
        t.equal(receive(echo).value, { n = 1 })
        process.send(one, "end")
        gone("copies")
    end)
    case("who monitors sees what was and what comes", function()
        assert(grp:join({ "m", "m" }))
        local sub, members, err = t.count(3, grp:monitor("m"))
        t.equal(err, nil)
        t.equal(members, { me, me })
        t.equal(tostring(sub), "pg.Subscription{}")
        local events = sub:channel()
        t.equal(rawequal(events, sub:channel()), true)
        local pid = member({ "m", "n", "m" })
        t.equal(receive(events), { system = "pg", kind = "member.joined", path = "m", data = { Group = "m", PIDs = { pid, pid } } })
        process.send(pid, "leave", "m")
        receive(left)
        t.equal(receive(events), { system = "pg", kind = "member.left", path = "m", data = { Group = "m", PIDs = { pid } } })
        process.send(pid, "fail")
        t.equal(receive(events), { system = "pg", kind = "member.left", path = "m", data = { Group = "m", PIDs = { pid } } })
        assert(grp:leave({ "m", "m" }))
        t.equal(receive(events).data.PIDs, { me, me })
        t.values({ true, n = 1 }, sub:close())
        t.values({ true, n = 1 }, sub:close())
        local _, ok = receive(events)
        t.equal(ok, false)
        gone("n")
    end)
    case("one that ends leaves with all its slots at once", function()
        local pid = member({ "e", "e", "e", "f" })
        local sub, snapshot = grp:events()
        t.equal(snapshot, { e = times(pid, 3), f = { pid } })
        process.send(pid, "end")
        local first, second = receive(sub:channel()), receive(sub:channel())
        t.equal(first.path .. second.path, "ef")
        t.equal(first.data.PIDs, times(pid, 3))
        t.equal(second.data.PIDs, { pid })
        sub:close()
    end)
    case("a closed subscription keeps what came, or drops it", function()
        for _, flush in ipairs({ true, false }) do
            local sub = grp:monitor("k")
            assert(grp:join("k"))
            assert(grp:leave("k"))
            sub:close({ flush = flush })
            if not flush then
                t.equal(receive(sub:channel()).kind, "member.joined")
                t.equal(receive(sub:channel()).kind, "member.left")
            end
            local _, ok = receive(sub:channel())
            t.equal(ok, false)
        end
    end)
    case("events that nobody reads wait, in order", function()
        local small = assert(pg.open("pg:small"))
        local sub = small:monitor("slow")
        for _ = 1, 200 do
            assert(small:join("slow"))
            assert(small:leave("slow"))
        end
        for i = 1, 400 do
            t.equal(receive(sub:channel()).kind, i % 2 == 1 and "member.joined" or "member.left")
        end
        sub:close()
        small:release()
    end)
    case("limits", function()
        local small = assert(pg.open("pg:small"))
        assert(small:join({ "x", "x", "x" }))
        local err = t.fails("RateLimited", "maximum members per group reached", small:join("x"))
        t.equal(err:retryable(), true)
        err = t.fails("RateLimited", "maximum number of groups reached", small:join({ "y", "z" }))
        t.equal(err:retryable(), true)
        t.equal(small:which_groups(), { "x" })
        assert(small:join("y"))
        t.fails("RateLimited", "maximum number of groups reached", small:join("z"))
        assert(small:leave({ "x", "x", "x", "y" }))
    end)
    case("released", function()
        local other = assert(pg.open("pg:scope"))
        assert(other:join("r"))
        local sub = other:monitor("r")
        t.values({ true, n = 1 }, other:release())
        t.values({ true, n = 1 }, other:release())
        t.equal(tostring(other), "pg.Instance{pg:scope, released}")
        local text = "pg instance is released"
        t.fails("Invalid", text, other:join("r"))
        t.fails("Invalid", text, other:leave("r"))
        t.fails("Invalid", text, other:get_members("r"))
        t.fails("Invalid", text, other:get_local_members("r"))
        t.fails("Invalid", text, other:which_groups())
        t.fails("Invalid", text, other:which_local_groups())
        t.fails("Invalid", text, other:broadcast("r", "x"))
        t.fails("Invalid", text, other:broadcast_local("r", "x"))
        for _, fn in ipairs({ function() return other:monitor("r") end, function() return other:events() end }) do
            local a, b, err = t.count(3, fn())
            t.values({ nil, nil, n = 2 }, a, b)
            t.error(err, "Invalid", text)
        end
        local _, ok = receive(sub:channel())
        t.equal(ok, false)
        t.equal(grp:get_members("r"), { me })
        assert(grp:leave("r"))
    end)
    case("many processes in two workers", function()
        local pids = {}
        for i = 1, 100 do pids[i] = assert(process.spawn("pg:member", HOST, me, "pg:scope", "crowd")) end
        for _ = 1, 100 do receive(joined) end
        t.equal(sorted(grp:get_members("crowd")), sorted(pids))
        for _ = 1, 10 do assert(grp:broadcast("crowd", "all")) end
        for _ = 1, 1000 do receive(echo) end
        for _, pid in ipairs(pids) do process.terminate(pid) end
        gone("crowd")
    end)
    return done()
end

return { main = main }

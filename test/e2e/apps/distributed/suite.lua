-- One suite for every place that a partner can be at. Ends with what was seen, so that the places can be compared.

local time = require("time")
local security = require("security")
local t = require("expect")

local EXIT, LINK_DOWN, CANCEL = process.event.EXIT, process.event.LINK_DOWN, process.event.CANCEL

local function main(where)
    local case, done = t.cases()
    local seen = {}
    local me = process.pid()
    process.set_options({ trap_links = true })
    local topics = {}
    for _, topic in ipairs({ "done", "event", "spawned", "got", "x", "flood" }) do
        topics[topic] = process.listen(topic, { message = true })
    end
    local inbox, events = process.inbox(), process.events()

    local function next_of(ch, what)
        local limit = time.after("10s")
        local r = channel.select({ ch:case_receive(), limit:case_receive() })
        if r.channel == limit then error("no " .. (what or "message") .. " within 10 s", 2) end
        return r.value
    end
    local function message(topic) return next_of(topics[topic], topic) end
    local function value(topic) return message(topic):payload():data() end
    local function values(topic)
        local list = {}
        for i, each in ipairs(message(topic):payload()) do list[i] = each:data() end
        return list
    end
    local function event() return next_of(events, "event") end
    local function start(entry, ...) return assert(process.spawn("dist:" .. entry, where, ...)) end
    local function note(name, ...) seen[#seen + 1] = name .. ": " .. table.concat({ ... }, " ") end
    -- Everything that the process may have to say has arrived: what it answers came behind it. Then there is nothing more.
    local function no_events()
        local probe = start("echo")
        process.send(probe, "x")
        message("x")
        process.terminate(probe)
        assert(process.cancel(me, "marker"))
        local last = event()
        if last.reason ~= "marker" then error("unexpected " .. last.kind .. " from " .. last.from, 2) end
    end
    local function why(e) return e.result.error and (e.result.error:kind() .. " " .. e.result.error:message()) or "clean" end
    local function echoed(...)
        local echo = start("echo")
        t.values({ true, nil, n = 2 }, process.send(echo, "x", ...))
        local m = message("x")
        t.equal(m:from(), echo)
        process.terminate(echo)
        return m:payload() and m:payload():data()
    end

    -- ---- messages

    case("a process knows itself by the PID that its spawner got", function()
        local pid = assert(process.spawn_monitored("dist:who", where))
        local result = event().result.value
        t.equal(result.pid, pid)
        t.equal(result.id, "dist:who")
        if where:find("@") then t.contains(pid, "{" .. where .. "|") else t.contains(pid, where .. "|") end
    end)
    case("messages arrive in the order they were sent in, over all topics", function()
        local collector, wanted = start("collector"), {}
        for i = 1, 2000 do
            local topic = "t" .. i % 7
            assert(process.send(collector, topic, i))
            wanted[i] = topic .. "=" .. i
        end
        process.send(collector, "get")
        t.equal(table.concat(value("got"), ","), table.concat(wanted, ","))
        process.terminate(collector)
    end)
    case("numbers keep their kind and value", function()
        local list = { 0, -1, 127, 128, -129, 65536, -2147483649, 9007199254740993, math.maxinteger, math.mininteger,
            0.0, 1.0, -0.0, 2.5, 1e300, math.huge, -math.huge }
        local got = echoed(list)
        for i, n in ipairs(list) do
            t.equal(got[i], n, "number " .. i)
            t.equal(math.type(got[i]), math.type(n), "number " .. i)
            t.equal(string.format("%.17g", got[i]), string.format("%.17g", n))
        end
        local nan = echoed(0 / 0)
        t.equal(nan ~= nan, true)
    end)
    case("strings are bytes", function()
        local all = {}
        for i = 0, 255 do all[#all + 1] = string.char(i) end
        local bytes = table.concat(all)
        t.equal(echoed(bytes), bytes)
        t.equal(echoed(""), "")
        t.equal(echoed("grüße"), "grüße")
    end)
    case("booleans, nil, none and several", function()
        t.equal(echoed(true), true)
        t.equal(echoed(false), false)
        t.equal(echoed(nil), nil)
        t.equal(echoed(), nil)
        local got = echoed(1, nil, "x", nil)
        t.equal(got.n, 4)
        t.equal({ got[1], got[2], got[3], got[4] }, { 1, nil, "x", nil })
    end)
    case("tables of any shape", function()
        local keys = { [true] = 1, [1.5] = 2, [-3] = 3, ["4"] = 4, [10] = 10, "first" }
        t.equal(echoed(keys), keys)
        t.equal(echoed({}), {})
        t.equal(echoed({ 1, nil, 3 })[3], 3)
        local deep = {}
        for _ = 1, 200 do deep = { deep } end
        local got = echoed(deep)
        for _ = 1, 200 do got = got[1] end
        t.equal(got, {})
    end)
    case("shared tables and cycles", function()
        local shared = { "s" }
        local round = { a = shared, b = shared }
        round.self = round
        local got = echoed(round)
        t.equal(rawequal(got.a, got.b), true)
        t.equal(rawequal(got.self, got), true)
        t.equal(got.a[1], "s")
    end)
    case("error objects, also inside tables", function()
        local err = errors.new{ message = "sold out", kind = errors.CONFLICT, retryable = true, details = { sku = "A1", n = 1.0 } }
        for _, got in ipairs({ echoed(err), echoed({ err })[1] }) do
            t.error(got, "Conflict", "sold out")
            t.equal(got:retryable(), true)
            t.equal(got:details(), { sku = "A1", n = 1.0 })
        end
    end)
    case("what cannot cross arrives as nil", function()
        t.equal(echoed(print), nil)
        t.equal(echoed({ f = print, ch = channel.new(), ok = 1 }), { ok = 1 })
    end)
    case("a table is copied", function()
        local mine = { 1 }
        local collector = start("told")
        process.monitor(collector)
        process.send(collector, "x", mine)
        mine[1] = 2
        t.equal(event().result.value, { 1 })
    end)
    case("big payloads", function()
        local text = string.rep("0123456789abcdef", 65536 * 4)
        t.equal(#text, 4 * 1024 * 1024)
        t.equal(echoed(text) == text, true)
        local list = {}
        for i = 1, 50000 do list[i] = i * 3 end
        local got = echoed(list)
        t.equal(#got, 50000)
        t.equal(got[50000], 150000)
    end)
    case("ping-pong: each answer is that of its question", function()
        local echo = start("echo")
        for i = 1, 500 do
            process.send(echo, "x", i)
            local m = message("x")
            t.equal(m:payload():data(), i)
            t.equal(m:from(), echo)
        end
        process.terminate(echo)
    end)
    case("one-way floods of both sides at once lose, double and reorder nothing", function()
        local count = 10000
        local collector = start("collector")
        local pid = assert(process.spawn_monitored("dist:flood", where, me, count))
        for i = 1, count do
            -- A full queue is said to the sender, who tries again.
            while not process.send(collector, "n", i) do time.sleep("5ms") end
        end
        for i = 1, count do t.equal(value("flood"), i) end
        local e = event()
        t.equal(e.from, pid)
        t.equal(e.result.value, count)
        process.send(collector, "get")
        local got = value("got")
        t.equal(#got, count)
        for i = 1, count do t.equal(got[i], "n=" .. i) end
        process.terminate(collector)
    end)
    case("big and small in order", function()
        local collector = start("collector")
        local big = string.rep("b", 300000)
        for i = 1, 5 do
            process.send(collector, "big", big)
            process.send(collector, "small", i)
        end
        process.send(collector, "get")
        local got = value("got")
        t.equal(#got, 10)
        for i = 1, 5 do
            t.equal(#got[2 * i - 1], 300004)
            t.equal(got[2 * i], "small=" .. i)
        end
        process.terminate(collector)
    end)
    case("reserved topics are refused where they are sent", function()
        local idle = start("idle")
        t.fails("Invalid", "cannot send to @ topics", process.send(idle, "@pid/events", 1))
        t.fails("Invalid", "send requires at least destination and topic arguments", process.send(idle))
        process.terminate(idle)
    end)

    -- ---- ends

    for _, how in ipairs({ "value", "nothing", "error value", "text", "object", "raise text", "raise object", "deadlock", "function" }) do
        case("a monitor hears how it ended: " .. how, function()
            local pid = assert(process.spawn_monitored("dist:ends", where, how))
            local e = event()
            t.equal(e.kind, EXIT)
            t.equal(e.from, pid)
            t.truthy(math.abs(e.at - os.time()) < 60, "at is now")
            local result, err = e.result.value, e.result.error
            note(how, why(e), type(result), tostring(err and err:retryable()), tostring(err and err:details() and err:details().sku))
            if how == "value" then t.equal(result, { list = { 1, 2 }, n = 1.5 }) end
            if how == "error value" then t.error(result, "Conflict", "as a value") end
            if how == "object" then t.error(err, "Conflict", "sold out") end
            if how == "raise text" then t.contains(err, "boom") end
            no_events()
        end)
        case("exec gives how it ended: " .. how, function()
            local result, err = process.exec("dist:ends", where, how)
            note("exec " .. how, type(result), err and (err:kind() .. " " .. err:message()) or "clean", tostring(err and err:retryable()))
            no_events()
        end)
    end
    case("a second monitor is refused, and there is one EXIT", function()
        local pid = start("told")
        assert(process.monitor(pid))
        t.fails("AlreadyExists", "already monitoring pid", process.monitor(pid))
        process.send(pid, "x", "done")
        t.equal(event().result.value, "done")
        no_events()
    end)
    case("several watchers each hear it once", function()
        local pid = start("told")
        local first = assert(process.spawn("dist:watcher", "dist:processes", me, "monitor", pid))
        t.equal(value("done"), true)
        local second = start("watcher", me, "monitor", pid)
        t.equal(value("done"), true)
        process.monitor(pid)
        process.send(pid, "x", "done")
        t.equal(event().from, pid)
        for _ = 1, 2 do t.equal(values("event"), { EXIT, pid, "clean" }) end
        process.terminate(first)
        process.terminate(second)
        no_events()
    end)
    case("after unmonitor there is no EXIT", function()
        local pid = start("told")
        assert(process.monitor(pid))
        t.values({ true, nil, n = 2 }, process.unmonitor(pid))
        t.values({ true, nil, n = 2 }, process.unmonitor(pid))
        process.send(pid, "x", 1)
        no_events()
    end)
    case("unmonitor and monitor again", function()
        local pid = start("told")
        for _ = 1, 3 do
            assert(process.monitor(pid))
            assert(process.unmonitor(pid))
        end
        assert(process.monitor(pid))
        process.send(pid, "x", "once")
        t.equal(event().result.value, "once")
        no_events()
    end)
    case("what it sent before its end is there when its EXIT is", function()
        local pid = assert(process.spawn_monitored("dist:flood", where, me, 500))
        t.equal(event().from, pid)
        for i = 1, 500 do t.equal(value("flood"), i) end
        no_events()
    end)

    -- ---- links

    case("a failure is one LINK_DOWN for a process that traps", function()
        local pid = start("ends", "later")
        t.values({ true, nil, n = 2 }, process.link(pid))
        t.values({ true, nil, n = 2 }, process.link(pid))
        process.send(pid, "object")
        local e = event()
        t.equal(e.kind, LINK_DOWN)
        t.equal(e.from, pid)
        t.error(e.result.error, "Conflict", "sold out")
        no_events()
    end)
    case("a normal end dissolves the link silently", function()
        local pid = start("ends", "later")
        process.link(pid)
        process.monitor(pid)
        process.send(pid, "nothing")
        t.equal(event().kind, EXIT)
        no_events()
    end)
    case("monitored and linked: both events, once each", function()
        local pid = start("ends", "later")
        process.link(pid)
        process.monitor(pid)
        process.send(pid, "text")
        local kinds = {}
        for _ = 1, 2 do
            local e = event()
            kinds[e.kind] = why(e)
        end
        t.equal(kinds, { [EXIT] = "Internal just no", [LINK_DOWN] = "Internal just no" })
        no_events()
    end)
    case("after unlink a failure is nobody's business", function()
        local pid = start("ends", "later")
        assert(process.link(pid))
        t.values({ true, nil, n = 2 }, process.unlink(pid))
        t.values({ true, nil, n = 2 }, process.unlink(pid))
        process.send(pid, "raise text")
        no_events()
    end)
    case("unlink and link again: one LINK_DOWN, of the link that there is", function()
        local pid = start("ends", "later")
        for _ = 1, 3 do
            assert(process.link(pid))
            assert(process.unlink(pid))
        end
        assert(process.link(pid))
        process.send(pid, "object")
        t.equal(why(event()), "Conflict sold out")
        no_events()
    end)
    case("both ends let go and link again, at about the same time: both know the same of it", function()
        for _ = 1, 20 do
            local pid = start("watcher", me, "link", me, true)
            t.equal(value("done"), true)
            assert(process.unlink(pid))
            process.send(pid, "unlink")
            assert(process.link(pid))
            t.equal(value("done"), true)
            process.send(pid, "link")
            t.equal(value("done"), true)
            -- Whoever links last is linked: what it heard of the other's letting go came before.
            process.send(pid, "fail")
            local e = event()
            t.equal(e.kind, LINK_DOWN)
            t.equal(e.from, pid)
        end
        no_events()
    end)
    case("what was said before a link fails is there before its LINK_DOWN", function()
        local pid = start("watcher", me, "link", me, true)
        t.equal(value("done"), true)
        for _ = 1, 5 do process.send(pid, "link") end
        process.send(pid, "fail")
        t.equal(event().kind, LINK_DOWN)
        for _ = 1, 5 do t.equal(value("done"), true) end
        no_events()
    end)
    case("unlink by the other end counts as well", function()
        local pid = start("watcher", me, "link", me, false)
        t.equal(value("done"), true)
        process.send(pid, "unlink")
        t.equal(value("done"), true)
        process.send(pid, "fail")
        no_events()
    end)
    case("the partner links, and hears of the failure when it traps", function()
        local target = assert(process.spawn("dist:ends", "dist:processes", "later"))
        local pid = start("watcher", me, "link", target, true)
        t.equal(value("done"), true)
        process.send(target, "text")
        t.equal(values("event"), { LINK_DOWN, target, "just no" })
        process.terminate(pid)
    end)
    case("who does not trap fails with it, and so on along the links", function()
        local first = assert(process.spawn("dist:idle", "dist:processes"))
        local second = start("watcher", me, "link", first, false)
        t.equal(value("done"), true)
        local third = assert(process.spawn("dist:watcher", "dist:processes", me, "link", second, false))
        t.equal(value("done"), true)
        process.monitor(second)
        process.monitor(third)
        process.terminate(first)
        local ends = {}
        for _ = 1, 2 do
            local e = event()
            ends[e.from] = why(e)
        end
        t.equal(ends, { [second] = "Internal linked process failed", [third] = "Internal linked process failed" })
        no_events()
    end)
    case("a link that the partner made reaches back", function()
        local pid = start("watcher", me, "link", me, false)
        t.equal(value("done"), true)
        process.send(pid, "fail")
        local e = event()
        t.equal(e.kind, LINK_DOWN)
        t.equal(e.from, pid)
        note("link back", why(e))
        no_events()
    end)

    -- ---- cancel, terminate

    case("cancel is an event with its reason and sender", function()
        for _, reason in ipairs({ "stop now", "" }) do
            local pid = assert(process.spawn_monitored("dist:polite", where))
            t.values({ true, nil, n = 2 }, process.cancel(pid, reason))
            t.equal(event().result.value, { kind = CANCEL, from = me, reason = reason })
        end
    end)
    case("terminate ends it: EXIT and LINK_DOWN", function()
        local pid = start("idle")
        process.monitor(pid)
        process.link(pid)
        t.values({ true, nil, n = 2 }, process.terminate(pid))
        local kinds = {}
        for _ = 1, 2 do
            local e = event()
            kinds[e.kind] = why(e)
        end
        t.equal(kinds, { [EXIT] = "Internal process terminated", [LINK_DOWN] = "Internal process terminated" })
        no_events()
    end)

    -- ---- spawning

    case("spawn gives a PID and nothing else", function()
        local pid = t.count(2, process.spawn("dist:told", where))
        t.equal(process.monitor(pid), true)
        process.send(pid, "x", 1)
        t.equal(event().result.value, 1)
    end)
    case("spawn_monitored: an immediate end is not missed", function()
        for _ = 1, 20 do
            local pid = assert(process.spawn_monitored("dist:ends", where, "value"))
            local e = event()
            t.equal({ e.kind, e.from }, { EXIT, pid })
        end
        no_events()
    end)
    case("spawn_linked: an immediate failure is not missed", function()
        for _ = 1, 20 do
            local pid = assert(process.spawn_linked("dist:ends", where, "text"))
            local e = event()
            t.equal({ e.kind, e.from, why(e) }, { LINK_DOWN, pid, "Internal just no" })
        end
        no_events()
    end)
    case("spawn_linked_monitored: both", function()
        local pid = assert(process.spawn_linked_monitored("dist:ends", where, "text"))
        local kinds = {}
        for _ = 1, 2 do
            local e = event()
            kinds[e.kind] = e.from
        end
        t.equal(kinds, { [EXIT] = pid, [LINK_DOWN] = pid })
        no_events()
    end)
    case("a message sent right after spawn is not lost", function()
        for i = 1, 50 do
            local pid = assert(process.spawn_monitored("dist:told", where))
            process.send(pid, "x", i)
            t.equal(event().result.value, i)
        end
    end)
    case("a spawner that fails takes its linked child along", function()
        local spawner = assert(process.spawn("dist:spawner", "dist:processes", me, "spawn_linked", "dist:idle", where))
        local child = value("spawned")
        process.monitor(child)
        process.send(spawner, "fail")
        t.equal(why(event()), "Internal linked process failed")
        no_events()
    end)
    case("a partner spawns on our side, and its failure reaches its child", function()
        local home = me:match("^{(.*)|")
        local spawner = start("spawner", me, "spawn_linked", "dist:idle", home)
        local child = value("spawned")
        t.equal(child:match("^{(.*)|"), home)
        process.monitor(child)
        process.send(spawner, "fail")
        t.equal(why(event()), "Internal linked process failed")
        no_events()
    end)
    case("a child outlives a spawner that is not linked", function()
        local spawner = assert(process.spawn_monitored("dist:spawner", "dist:processes", me, "spawn", "dist:told", where))
        local child = value("spawned")
        process.monitor(child)
        process.send(spawner, "fail")
        t.equal(event().from, spawner)
        process.send(child, "x", "alive")
        t.equal(event().result.value, "alive")
    end)
    case("what cannot be spawned", function()
        for _, entry in ipairs({ "dist:nothing", "dist:a_function", "dist:processes", "dist:no_method", "dist:broken", "" }) do
            for _, how in ipairs({ "spawn", "spawn_linked_monitored" }) do
                local pid, err = t.count(2, process[how](entry, where))
                t.equal(pid, nil)
                note(how .. " " .. entry, err:kind(), err:message(), tostring(err:details() and err:details().factory_id))
            end
        end
        no_events()
    end)
    case("a host that is not there", function()
        local at = where:match("^[^@]*@") or ""
        local err = t.fails("NotFound", "host not found", process.spawn("dist:idle", at .. "dist:nowhere"))
        note("no host", err:message():gsub("%S*dist:nowhere", "HOST"))
    end)
    case("the builder: context, actor and scope go with it", function()
        local scope = security.new_scope({ assert(security.policy("dist:anything")) })
        local built = process.with_context({ tenant = "acme", n = 1.0, deep = { 1, { 2 } } })
            :with_actor(security.new_actor("ann", { team = "red" })):with_scope(scope)
        t.equal(built:exec("dist:inherited", where),
            { context = { tenant = "acme", n = 1.0, deep = { 1, { 2 } } }, actor = "ann", meta = { team = "red" }, policies = 1 })
        built:spawn_monitored("dist:inherited", where)
        t.equal(event().result.value.actor, "ann")
    end)
    case("the builder: first messages, in order, from nobody", function()
        local pid = assert(process.with_options({}):with_message("a", 1):with_message("b", nil):with_message("c", "x")
            :spawn("dist:collector", where))
        process.send(pid, "d", 4)
        process.send(pid, "get")
        t.equal(value("got"), { "a=1", "b=nil", "c=x", "d=4" })
        process.terminate(pid)
    end)
    case("the builder: a name that is taken means its holder", function()
        local name = "dist.counter." .. where
        local base = process.with_options({}):with_name(name)
        local first = assert(base:with_message("a", 1):spawn("dist:collector", where))
        local again = assert(base:with_message("b", 2):spawn("dist:collector", where))
        t.equal(again, first)
        process.send(first, "get")
        t.equal(value("got"), { "a=1", "b=2" })
        process.monitor(first)
        process.terminate(first)
        t.equal(event().from, first)
        local other = assert(base:spawn("dist:collector", where))
        t.equal(other == first, false)
        process.terminate(other)
    end)

    case("what is not allowed is refused before it leaves the node", function()
        local function tries(policy, entry, host)
            local scope = security.new_scope({ assert(security.policy("dist:anything")), assert(security.policy(policy)) })
            return assert(process.with_context({}):with_actor(security.new_actor("ann")):with_scope(scope)
                :exec("dist:tries", "dist:processes", entry, host))
        end
        for how, said in pairs(tries("dist:no_other_node", "dist:who", "b@dist:processes")) do
            t.contains(said, "PermissionDenied not allowed: process.host on b@dist:processes")
        end
        t.equal(tries("dist:no_other_node", "dist:who", "dist:processes").spawn, "string")
        for how, said in pairs(tries("dist:no_idle", "dist:idle", where)) do
            t.contains(said, "PermissionDenied not allowed: process." .. (how == "exec" and "exec" or "spawn") .. " on dist:idle")
        end
    end)

    seen[#seen + 1] = done()
    return seen
end

return { main = main }

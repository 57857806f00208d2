-- One client: carries out one order beside the other, and says what came of each, and what it is told unasked.

local json = require("json")
local system = require("system")
local time = require("time")

local registry, lock = process.registry, system.lock

local function failure(err)
    return { kind = err:kind(), message = err:message(), retryable = err:retryable(), details = err:details() }
end

local function main(driver, client)
    local orders, events = process.listen("order"), process.events()
    local me = process.pid()

    local function say(what)
        what.c, what.pid = client, me
        process.send(driver, "out", (json.encode(what)))
    end

    local does = {}

    function does.ping() return {} end

    function does.acquire(o)
        local ok, err, token = lock.acquire(o.name, { wait = o.wait, ttl = o.ttl })
        return { ok = ok, err = err and failure(err), token = token, held = lock.is_held(o.name) }
    end

    --- Takes it, keeps it for a while, gives it back.
    function does.hold(o)
        local ok, err, token = lock.acquire(o.name, { wait = o.wait })
        if not ok then return { ok = ok, err = err and failure(err), held = lock.is_held(o.name) } end
        local held = lock.is_held(o.name)
        if o.time then time.sleep(o.time) end
        return { ok = ok, token = token, held = held, released = lock.release(o.name) }
    end

    function does.release(o)
        local released, err = lock.release(o.name)
        return { released = released, err = err and failure(err) }
    end

    function does.held(o) return { held = lock.is_held(o.name) } end

    function does.info(o)
        local info, err = lock.info(o.name)
        return { info = info, err = err and failure(err) }
    end

    function does.register(o)
        local ok, err = registry.register(o.name, nil, registry[o.scope])
        return { ok = ok, err = err and failure(err) }
    end

    function does.unregister(o)
        local done, err = registry.unregister(o.name, registry[o.scope])
        return { done = done, err = err and failure(err) }
    end

    function does.lookup(o)
        local found, err = registry.lookup(o.name, { linearizable = o.linearizable })
        return { found = found, err = err and failure(err) }
    end

    function does.names(o) return { names = registry.names(o.prefix) } end

    --- Asks for names and ends before the answer.
    function does.register_and_die(o)
        for n = 1, o.count do
            coroutine.spawn(function() registry.register(o.prefix .. n, nil, registry[o.scope]) end)
        end
        if o.after then time.sleep(o.after) end
        error("told to die")
    end

    --- Takes names and gives them up, over and over. @return how often it had each
    function does.churn(o)
        local had, failed = {}, {}
        for round = 1, o.rounds do
            local name = o.prefix .. (round % o.names)
            local ok, err = registry.register(name, nil, registry[o.scope])
            if ok then
                had[name] = (had[name] or 0) + 1
                local mine, why = registry.lookup(name)
                if mine ~= me then failed[#failed + 1] = name .. " is " .. tostring(mine or why) end
                local done = registry.unregister(name, registry[o.scope])
                if done ~= true then failed[#failed + 1] = name .. " was not given up: " .. tostring(done) end
            elseif err:kind() ~= errors.ALREADY_EXISTS then
                failed[#failed + 1] = name .. ": " .. err:kind() .. " " .. err:message()
            end
        end
        return { had = had, failed = failed }
    end

    --- Keeps what it is told until it is asked for it.
    local seen = {}
    function does.watch(o)
        local changes = assert(registry.watch(o.prefix, { prefix = true })):channel()
        seen[o.prefix] = {}
        coroutine.spawn(function()
            while true do
                local change = changes:receive()
                if not change then return end
                local list = seen[o.prefix]
                list[#list + 1] = { type = change.type, name = change.name, pid = change.pid, scope = change.scope }
            end
        end)
        return {}
    end

    function does.seen(o) return { seen = seen[o.prefix], names = registry.names(o.prefix) } end

    function does.hog()
        process.spawn("coordination:hog", "coordination:fragile")
        return {}
    end

    while true do
        local got = channel.select({ events:case_receive(), orders:case_receive() })
        if got.channel == events then
            if got.value.kind == process.event.CANCEL then
                say({ ev = "cancel", reason = got.value.reason })
                if got.value.reason == "scheduler shutdown" then return end
            end
        else
            local order = got.value
            if order.op == "die" then error("told to die") end
            if order.op == "quit" then return end
            coroutine.spawn(function()
                local ok, result = pcall(does[order.op], order)
                if not ok then
                    if order.op == "register_and_die" then process.send(me, "order", { op = "die" }) return end
                    result = { failed = tostring(result) }
                end
                result.id = order.id
                say(result)
            end)
        end
    end
end

return { main = main }

-- One client: carries out one order after the other, and says what came of it and when, by a clock that never goes back. What it does not
-- know it says so: a failure that may have happened all the same is `ambiguous`.

local json = require("json")
local pg = require("pg")
local store = require("store")
local system = require("system")
local time = require("time")

local names, lock = process.registry, system.lock

local function failure(err)
    if err == nil then return { kind = "none", message = "no error told" } end
    local details = err:details() or {}
    return {
        kind = err:kind(),
        message = err:message(),
        ambiguous = details.ambiguous,
        version = details.version,
        existing = details.existing_pid,
        rejected_by = details.rejected_by,
        missing = details.missing_nodes,
    }
end

local function main(driver, client)
    local orders, events, casts = process.listen("order"), process.events(), process.listen("cast")
    local kv, crdt, groups = assert(store.get("chaos:kv")), assert(store.get("chaos:crdt")), assert(pg.open("chaos:groups"))
    local me = process.pid()
    local slots = { none = 0 }
    local canary, canaries = nil, 0
    local enough = false

    local function say(what)
        what.c = client
        process.send(driver, "out", (json.encode(what)))
    end

    --- A lock that nobody else wants: as long as it is held, the session of this node can be trusted. @return which grant, or nil
    local function trusted()
        if canary and lock.is_held(canary) then return canaries end
        canary = nil
        return nil
    end

    local does = {}

    function does.ping() return {} end

    function does.get(o)
        local entry, err = kv:entry(o.key, o.stale and { stale = true } or nil)
        if entry then return { value = entry.value, version = entry.version } end
        if err:kind() == errors.NOT_FOUND then return { absent = true } end
        return { err = failure(err) }
    end

    function does.put(o)
        local entry, err = kv:put(o.key, o.value, { if_version = o.if_version, only_if_absent = o.absent })
        if entry then return { version = entry.version } end
        return { err = failure(err) }
    end

    function does.delete(o)
        local done, err = kv:delete(o.key, o.if_version and { if_version = o.if_version } or nil)
        if err then return { err = failure(err) } end
        return { existed = done }
    end

    --- Adds one by reading and writing under a condition, until it is told that it did or cannot know.
    function does.add(o)
        for attempt = 1, 30 do
            local entry, err = kv:entry(o.key)
            if err and err:kind() ~= errors.NOT_FOUND then return { err = { kind = err:kind(), message = err:message() } } end
            local n = (entry and entry.value or 0) + 1
            local condition = entry and { if_version = entry.version } or { only_if_absent = true }
            local written, conflict = kv:put(o.key, n, condition)
            if written then return { n = n, version = written.version, attempts = attempt } end
            local kind = conflict:kind()
            if kind ~= errors.CONFLICT and kind ~= errors.ALREADY_EXISTS and kind ~= errors.NOT_FOUND then
                return { err = failure(conflict), n = n }
            end
        end
        return { err = { kind = "Busy", message = "others were always first" } }
    end

    --- Moves an amount from one account to another, both or neither.
    function does.move(o)
        local from, err = kv:entry(o.from)
        if not from then return { err = { kind = err:kind(), message = err:message() } } end
        local to
        to, err = kv:entry(o.to)
        if not to then return { err = { kind = err:kind(), message = err:message() } } end
        local done
        done, err = kv:txn({
            checks = { { key = o.from, version = from.version }, { key = o.to, version = to.version } },
            puts = { { key = o.from, value = from.value - o.amount }, { key = o.to, value = to.value + o.amount } },
        })
        if done then return { version = done.version } end
        return { err = failure(err) }
    end

    function does.list(o)
        local page, err = kv:list({ prefix = o.prefix, limit = 1000 })
        if not page then return { err = failure(err) } end
        return { items = page.items }
    end

    --- Takes a lock, holds it for a while with a look at it now and then, gives it back. `held` spans what is certain: from after the first
    --- look that found it held to before the last one.
    function does.lock(o)
        local ok, err, token = lock.acquire(o.name, { wait = o.wait, ttl = o.ttl })
        if not ok then return { err = failure(err) } end
        local granted = os.clock()
        local till = granted + o.hold
        local first, last, told
        local guarded = {}
        local lost = false
        repeat
            local before = os.clock()
            if not lock.is_held(o.name) then
                lost = true
                break
            end
            local after = os.clock()
            first, last = first or after, before
            if not told or before - told > 0.15 then
                told = before
                say({ ev = "held", name = o.name, token = token, from = first, to = last })
                if o.guard then
                    local entry, why = kv:put("guard:" .. o.name, { by = client, token = token }, { fence = token, lock = o.name })
                    guarded[#guarded + 1] = entry and { version = entry.version } or { err = failure(why) }
                end
            end
            if o.renew then lock.renew(o.name) end
            time.sleep("15ms")
        until os.clock() > till
        local at = os.clock()
        local released, why = lock.release(o.name)
        return { token = token, granted = granted, from = first, to = last, lost = lost, guarded = guarded, released = released,
            released_at = at, why = why and failure(why) or nil }
    end

    --- Takes a lock and keeps it until it is lost, or somebody says that it is enough.
    function does.keep(o)
        local ok, err, token = lock.acquire(o.name, { wait = o.wait })
        if not ok then return { err = failure(err) } end
        local first, last, told
        enough = false
        while not enough do
            local before = os.clock()
            if not lock.is_held(o.name) then break end
            first, last = first or os.clock(), before
            if not told or before - told > 0.2 then
                told = before
                say({ ev = "held", name = o.name, token = token, from = first, to = last })
            end
            time.sleep("30ms")
        end
        local given_up = enough and lock.release(o.name)
        return { token = token, from = first, to = last, lost = not enough, released = given_up }
    end

    function does.let_go()
        enough = true
        return {}
    end

    function does.stale_fence(o)
        local entry, err = kv:put("guard:" .. o.name, { by = client, token = o.token }, { fence = o.token, lock = o.name })
        if entry then return { version = entry.version } end
        return { err = failure(err) }
    end

    function does.canary()
        if trusted() then return { trusted = canaries } end
        canary = nil
        local name = "canary:" .. client .. ":" .. me
        local ok, err = lock.acquire(name, { wait = "5s" })
        if not ok then return { err = failure(err) } end
        canary, canaries = name, canaries + 1
        return { trusted = canaries }
    end

    function does.register(o)
        local ok, err = names.register(o.name, nil, names[o.scope])
        if ok then return { ok = true } end
        return { err = failure(err) }
    end

    function does.unregister(o)
        local done, err = names.unregister(o.name, names[o.scope])
        if err then return { err = failure(err) } end
        return { done = done }
    end

    function does.lookup(o)
        local before = trusted()
        local pid, err = names.lookup(o.name, o.linearizable and { linearizable = true } or nil)
        local after = trusted()
        local sure = before ~= nil and before == after
        if pid then return { found = pid, sure = sure } end
        if err:kind() == errors.NOT_FOUND then return { absent = true, sure = sure } end
        return { err = failure(err) }
    end

    function does.merge_set(o)
        local ok, err = crdt:set(o.key, o.value, o.ttl)
        if ok then return { ok = true } end
        return { err = failure(err) }
    end

    function does.merge_delete(o)
        local existed, err = crdt:delete(o.key)
        if err then return { err = failure(err) } end
        return { existed = existed }
    end

    function does.merge_get(o)
        local value, err = crdt:get(o.key)
        if value ~= nil then return { value = value } end
        if err:kind() == errors.NOT_FOUND then return { absent = true } end
        return { err = failure(err) }
    end

    function does.merge_list(o)
        local items, after = {}, nil
        repeat
            local page, err = crdt:list({ prefix = o.prefix, limit = 1000, after = after })
            if not page then return { err = failure(err) } end
            for _, item in ipairs(page.items) do items[#items + 1] = { key = item.key, value = item.value } end
            after = page.cursor
        until not page.has_more
        return { items = items }
    end

    function does.join(o)
        local ok, err = groups:join(o.group)
        if not ok then return { err = failure(err) } end
        slots[o.group] = (slots[o.group] or 0) + 1
        return { slots = slots }
    end

    function does.leave(o)
        local ok, err = groups:leave(o.group)
        if not ok then return { err = failure(err), slots = slots } end
        slots[o.group] = (slots[o.group] or 1) - 1
        return { slots = slots }
    end

    function does.slots() return { slots = slots } end

    function does.members(o)
        local members, err = groups:get_members(o.group)
        if not members then return { err = failure(err) } end
        return { members = members }
    end

    function does.broadcast(o)
        local ok, err = groups:broadcast(o.group, "cast", o.value)
        return { ok = ok, err = err and failure(err) or nil, slots = slots }
    end

    while true do
        local got = channel.select({ events:case_receive(), casts:case_receive(), orders:case_receive() })
        if got.channel == events then
            local event = got.value
            if event.kind == process.event.CANCEL then
                say({ ev = "cancel", reason = event.reason, at = os.clock(), pid = me })
                if event.reason == "scheduler shutdown" then return end
            end
        elseif got.channel == casts then
            say({ ev = "cast", value = got.value, pid = me })
        else
            local order = got.value
            if order.op == "quit" then
                say({ id = order.id, pid = me, t0 = os.clock(), t1 = os.clock() })
                return
            end
            if order.op == "die" then
                say({ id = order.id, pid = me, t0 = os.clock(), t1 = os.clock() })
                error("told to die")
            end
            -- Beside this loop, so that what the client is told meanwhile is told at once.
            coroutine.spawn(function()
                local began = os.clock()
                local ok, result = pcall(does[order.op], order)
                if not ok then result = { failed = tostring(result) } end
                result.id, result.pid, result.t0, result.t1 = order.id, me, began, os.clock()
                say(result)
            end)
        end
    end
end

return { main = main }

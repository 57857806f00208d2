local store = require("store")
local time = require("time")
local t = require("expect")
local suite = require("suite")

local ID = "storeraft:raft"

-- The next event of a watch, without its version.
local function event(watch)
    local got = channel.select({ watch:channel():case_receive(), time.after("10s"):case_receive() })
    if got.channel ~= watch:channel() then return "nothing" end
    local happened = got.value
    return table.concat({ happened.type, happened.key or "", tostring(happened.value) }, " "), happened
end

local function main()
    local case, done = t.cases()
    local s = assert(store.get(ID))
    -- The group of one may still be on its way.
    t.truthy(s:set("ready:1", true))

    case("entries of one namespace are views of the same data", function()
        local other = assert(store.get("storeraft:raft_view"))
        t.truthy(s:set("shared:1", "x"))
        t.equal(other:entry("shared:1"), s:entry("shared:1"))
        t.truthy(other:delete("shared:1"))
        t.equal(s:has("shared:1"), false)
    end)
    case("comparing and setting keeps the deadline", function()
        local first = assert(s:put("c:1", 1, { ttl = 0.4 }))
        t.fails("Invalid", "invalid store options", s:put("c:1", 2, { if_version = first.version, ttl = 5 }))
        t.truthy(s:put("c:1", 2, { if_version = first.version }))
        t.equal(s:get("c:1"), 2)
        time.sleep("2500ms")
        t.fails("NotFound", "key not found", s:get("c:1"))
    end)
    case("a deadline is at most ten years away", function()
        for _, ttl in ipairs({ 1e9, 1e15, 1e300, math.huge, math.maxinteger }) do
            t.fails("Invalid", "between 0 and 10 years", s:set("e:1", 1, ttl))
        end
        t.fails("Invalid", "between 0 and 10 years", s:put("e:1", 1, { ttl = 1e300 }))
        t.fails("Invalid", "between 0 and 10 years", s:txn({ puts = { { key = "e:1", value = 1, ttl = 1e300 } } }))
        t.equal(s:has("e:1"), false)
    end)
    case("a conflict tells the version there is", function()
        local first = assert(s:put("d:1", 1))
        local err = t.fails("Conflict", "version mismatch", s:put("d:1", 2, { if_version = "1" }))
        t.equal(err:details().version, first.version)
    end)
    case("a transaction happens as a whole or not at all", function()
        local one = assert(s:put("t:1", 1))
        local two, err = t.count(2, s:txn({
            checks = { { key = "t:1", version = one.version }, { key = "t:2" } },
            puts = { { key = "t:2", value = { n = 2 }, ttl = 60 }, { key = "t:3", value = 3 } },
            deletes = { "t:1", "t:none" },
        }))
        t.equal(err, nil)
        t.equal(s:has("t:1"), false)
        t.equal(s:entry("t:2").version, two.version)
        t.equal(s:entry("t:3").version, two.version)
        local conflict = t.fails("Conflict", "version mismatch", s:txn({
            checks = { { key = "t:3", version = 0 } },
            puts = { { key = "t:4", value = 4 } },
        }))
        t.equal(conflict:retryable(), true)
        t.equal(conflict:details().key, "t:3")
        t.equal(s:has("t:4"), false)
        t.fails("Invalid", "each key once", s:txn({ puts = { { key = "t:5", value = 1 } }, deletes = { "t:5" } }))
        local many = {}
        for i = 1, 129 do many[i] = "t:" .. i end
        t.fails("Invalid", "at most 128", s:txn({ deletes = many }))
    end)
    case("a fence that is not the lock's token", function()
        t.fails("Conflict", "fence", s:put("f:1", 1, { fence = 1, lock = "nobody has it" }))
        t.equal(s:has("f:1"), false)
    end)
    case("a watch tells each change once, in order", function()
        s:set("w:0", "before")
        local watch = t.count(2, s:watch("w:"))
        t.equal(type(watch), "userdata")
        s:set("w:1", "a")
        s:set("other:1", "x")
        local second = s:put("w:1", "b")
        s:delete("w:1")
        s:set("w:2", { n = 1 }, 0.2)
        t.equal(event(watch), "put w:1 a")
        local text, happened = event(watch)
        t.equal(text, "put w:1 b")
        t.equal(happened.version, second.version)
        t.truthy(happened.prev_version)
        t.equal(event(watch), "delete w:1 nil")
        local _, stored = event(watch)
        t.equal(stored.value, { n = 1 })
        t.equal(event(watch), "expired w:2 nil")
        local again = assert(s:watch("w:", { from = second.version }))
        t.equal(event(again), "delete w:1 nil")
        t.values({ true, n = 1 }, again:close())
        t.values({ true, n = 1 }, again:close())
        watch:close()
        s:set("w:3", 1)
        local value, ok = watch:channel():receive()
        t.equal(value, nil)
        t.equal(ok, false)
    end)
    case("many changes reach a slow reader", function()
        local watch = assert(s:watch("m:"))
        for batch = 1, 30 do
            local puts = {}
            for i = 1, 50 do puts[i] = { key = "m:" .. i, value = batch } end
            assert(s:txn({ puts = puts }))
        end
        local seen, last = 0, 0
        while seen < 1500 do
            local _, happened = event(watch)
            seen = seen + 1
            t.truthy(happened.value >= last)
            last = happened.value
        end
        t.equal(last, 30)
        watch:close()
    end)
    done()
    return suite.run(ID, {
        backend = "kv.raft", consistency = "linearizable", durable = false, conditional_put = true, expires_within = "2500ms",
    })
end

return { main = main }

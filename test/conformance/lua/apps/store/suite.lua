-- What every store does, whatever is behind it.
local store = require("store")
local time = require("time")
local t = require("expect")

local M = {}

function M.keys(page)
    local list = {}
    for i, item in ipairs(page.items) do list[i] = item.key end
    return table.concat(list, " ")
end
local keys = M.keys

-- `facts` are what `info` says beside the id; `expires_within` how late a key may still be there.
function M.run(id, facts)
    local case, done = t.cases()
    local s = t.count(1, store.get(id))

    case("set, get, has, delete", function()
        t.values({ true, nil, n = 2 }, s:set("a:1", { x = 1, list = { 1, 2 } }))
        t.values({ { x = 1, list = { 1, 2 } }, nil, n = 2 }, s:get("a:1"))
        t.values({ true, nil, n = 2 }, s:has("a:1"))
        t.values({ true, nil, n = 2 }, s:delete("a:1"))
        t.values({ false, nil, n = 2 }, s:delete("a:1"))
        t.values({ false, nil, n = 2 }, s:has("a:1"))
        t.fails("NotFound", "key not found", s:get("a:1"))
        t.fails("NotFound", "key not found", s:entry("a:1"))
    end)
    case("a stored table is a snapshot", function()
        local value = { n = 1 }
        s:set("a:snap", value)
        value.n = 2
        local read = s:get("a:snap")
        t.equal(read.n, 1)
        read.n = 3
        t.equal(s:get("a:snap").n, 1)
    end)
    case("values are converted", function()
        s:set("v:1", false)
        t.equal(s:get("v:1"), false)
        s:set("v:2", { "a", x = 1 })
        t.equal(s:get("v:2"), { "a" })
        s:set("v:3", { [1.5] = "f", [true] = "b" })
        t.equal(s:get("v:3"), { ["1.5"] = "f", ["true"] = "b" })
        s:set("v:4", "\0\255bytes")
        t.equal(s:get("v:4"), "\0\255bytes")
        local loop = {}
        loop.me = loop
        t.fails("Internal", "nested", s:set("v:5", loop))
    end)
    case("keys and values are checked", function()
        for _, name in ipairs({ "get", "entry", "delete" }) do
            t.fails("Invalid", "key is required", s[name](s, ""))
            t.raises("string expected", s[name], s)
        end
        t.fails_with_false("Invalid", "key is required", s:has(""))
        t.fails("Invalid", "key is required", s:set("", 1))
        t.fails("Invalid", "value is required", s:set("k:1"))
        t.fails("Invalid", "value is required", s:put("k:1", nil))
        t.raises("number expected", s.set, s, "k:1", 1, "soon")
    end)
    case("a key without a colon has an empty namespace", function()
        s:set("job", 1)
        t.equal(s:entry("job").key, ":job")
        t.equal(s:get(":job"), 1)
        t.equal(keys(s:list({ prefix = "job" })), "")
        t.equal(keys(s:list({ prefix = ":job" })), ":job")
        s:delete(":job")
        t.equal(s:has("job"), false)
    end)
    case("expiry", function()
        s:set("t:1", 1, 0.05)
        s:put("t:2", 2, { ttl = 0.05 })
        s:set("t:3", 3, 0.05)
        s:set("t:3", 3)
        t.equal(s:get("t:1"), 1)
        time.sleep(facts.expires_within or "80ms")
        t.fails("NotFound", "key not found", s:get("t:1"))
        t.fails("NotFound", "key not found", s:entry("t:2"))
        t.equal(s:get("t:3"), 3)
        t.equal(keys(s:list({ prefix = "t:" })), "t:3")
        t.values({ false, nil, n = 2 }, s:delete("t:1"))
    end)
    case("list", function()
        for _, name in ipairs({ "c", "a", "b", "d" }) do s:set("l:" .. name, name) end
        local page, err = t.count(2, s:list({ prefix = "l:", limit = 3 }))
        t.equal(err, nil)
        t.equal(keys(page), "l:a l:b l:c")
        t.equal(page.cursor, "l:c")
        t.equal(page.has_more, true)
        t.equal(page.items[1].value, "a")
        page = s:list({ prefix = "l:", after = page.cursor, limit = 3.0 })
        t.equal(keys(page), "l:d")
        t.equal(page.has_more, false)
        page = s:list({ prefix = "none:" })
        t.equal(page, { items = {}, cursor = "", has_more = false })
        t.equal(keys(s:list({ prefix = "l:", after = "l:bb" })), "l:c l:d")
        t.truthy(#s:list().items > 4)
        t.fails("Invalid", "options must be a table", s:list("x"))
        t.fails("Invalid", "prefix must be a string", s:list({ prefix = 1 }))
        t.fails("Invalid", "after must be a string", s:list({ after = {} }))
        t.fails("Invalid", "limit must be a non-negative integer", s:list({ limit = -1 }))
        t.fails("Invalid", "limit must be a non-negative integer", s:list({ limit = 1.5 }))
    end)
    case("forms of put's options", function()
        t.truthy(s:put("o:1", "x"))
        t.fails("Invalid", "options must be a table", s:put("o:1", "x", 5))
        t.fails("Invalid", "only_if_absent must be a boolean", s:put("o:1", "x", { only_if_absent = 1 }))
        t.fails("Invalid", "mutually exclusive", s:put("o:1", "x", { only_if_absent = true, if_version = 1 }))
        for _, bad in ipairs({ 0, -1, "x", 1.5, "" }) do
            t.fails("Invalid", "if_version must be a positive version", s:put("o:1", "x", { if_version = bad }))
        end
        t.fails("Invalid", "ttl must be a non-negative number", s:put("o:1", "x", { ttl = -1 }))
        t.fails("Invalid", "ttl must be a non-negative number", s:put("o:1", "x", { ttl = "1s" }))
        t.fails("Invalid", "fence must be a positive integer", s:put("o:1", "x", { fence = "x", lock = "l" }))
        t.fails("Invalid", "fence and lock", s:put("o:1", "x", { fence = 1 }))
    end)
    case("every write has a version of its own", function()
        local first, err = t.count(2, s:put("n:1", "one"))
        t.equal(err, nil)
        t.equal(first.key, "n:1")
        t.equal(first.value, "one")
        t.equal(type(first.version), "string")
        local second = s:put("n:1", "one")
        t.truthy(second.version ~= first.version)
        t.equal(s:entry("n:1").version, second.version)
    end)
    case("only_if_absent and if_version", function()
        if not facts.conditional_put then
            local text = "operation not supported by this store"
            t.fails("Invalid", text, s:put("p:1", "x", { only_if_absent = true }))
            t.fails("Invalid", text, s:put("p:1", "x", { if_version = 1 }))
            t.equal(s:has("p:1"), false)
            return
        end
        local first = s:put("p:1", "one")
        local second = s:put("p:1", "one", { if_version = first.version })
        t.truthy(tonumber(second.version) > tonumber(first.version))
        local conflict = t.fails("Conflict", "version mismatch", s:put("p:1", "x", { if_version = first.version }))
        t.equal(conflict:retryable(), true)
        t.truthy(s:put("p:1", "two", { if_version = tonumber(second.version) }))
        t.fails("NotFound", "key not found", s:put("p:none", "x", { if_version = 1 }))
        t.fails("AlreadyExists", "key already exists", s:put("p:1", "x", { only_if_absent = true }))
        t.truthy(s:put("p:2", "x", { only_if_absent = true }))
    end)
    case("reads that may be stale, and conditions of a delete", function()
        t.truthy(s:set("s:1", "x"))
        t.equal(s:get("s:1", { stale = false }), "x")
        t.truthy(s:entry("s:1", { stale = true }))
        t.fails("Invalid", "options must be a table", s:get("s:1", 5))
        t.fails("Invalid", "options must be a table", s:entry("s:1", 5))
        t.fails_with_false("Invalid", "options must be a table", s:has("s:1", 5))
        t.fails("Invalid", "options must be a table", s:delete("s:1", 5))
        t.fails("Invalid", "if_version must be a positive version", s:delete("s:1", { if_version = "x" }))
        if facts.conditional_put then
            t.fails("Conflict", "version mismatch", s:delete("s:1", { if_version = "999999999" }))
            t.values({ true, nil, n = 2 }, s:delete("s:1", { if_version = s:entry("s:1").version }))
        else
            t.fails("Invalid", "operation not supported by this store", s:delete("s:1", { if_version = 1 }))
        end
    end)
    case("forms of a transaction and a watch", function()
        t.fails("Invalid", "a transaction is a table", s:txn())
        t.fails("Invalid", "checks must be a list", s:txn({ checks = 1 }))
        t.fails("Invalid", "checks[1]: key is required", s:txn({ checks = { { version = 1 } } }))
        t.fails("Invalid", "checks[1]: version must be", s:txn({ checks = { { key = "a", version = "x" } } }))
        t.fails("Invalid", "puts[2]: value is required", s:txn({ puts = { { key = "a", value = 1 }, { key = "b" } } }))
        t.fails("Invalid", "puts[1]: ttl must be", s:txn({ puts = { { key = "a", value = 1, ttl = -1 } } }))
        t.fails("Invalid", "deletes[1]: key is required", s:txn({ deletes = { 1 } }))
        t.fails("Invalid", "fence and lock", s:txn({ fence = 1 }))
        t.fails("Invalid", "prefix must be a string", s:watch(5))
        t.fails("Invalid", "options must be a table", s:watch("", 5))
        t.fails("Invalid", "from must be a positive version", s:watch("", { from = "x" }))
        if facts.backend ~= "kv.raft" then
            local text = "operation not supported by this store"
            t.fails("Invalid", text, s:txn({ puts = { { key = "a", value = 1 } } }))
            t.fails("Invalid", text, s:watch("a:"))
        end
    end)
    case("a fence", function()
        if facts.backend == "kv.raft" then return end
        t.fails("Invalid", "operation not supported by this store", s:put("f:1", "x", { fence = 1, lock = "l" }))
    end)
    case("binary values, whole floats and large tables come back as they were", function()
        local large = {}
        for i = 1, 5000 do large[i] = { name = "item " .. i, at = i / 2 } end
        t.truthy(s:set("v:large", large))
        t.equal(s:get("v:large")[5000], { name = "item 5000", at = 2500.0 })
        t.truthy(s:set("v:float", 2.0))
        t.equal(math.type(s:get("v:float")), "float")
        t.truthy(s:set("v:bytes", "\0\255\128"))
        t.equal(s:get("v:bytes"), "\0\255\128")
        t.truthy(s:set("v:empty", {}))
        t.equal(s:get("v:empty"), {})
    end)
    case("info and release", function()
        t.values({
            {
                id = id, backend = facts.backend, consistency = facts.consistency, durable = facts.durable,
                list = true, versioned = true, conditional_put = facts.conditional_put, ttl = true,
            },
            nil,
            n = 2,
        }, s:info())
        t.values({ true, n = 1 }, s:release())
        t.values({ true, n = 1 }, s:release())
        t.equal(tostring(s), "store.Store{released}")
        t.fails("Invalid", "store is released", s:get("a"))
        t.fails("Invalid", "store is released", s:set("a", 1))
        t.fails("Invalid", "store is released", s:put("a", 1))
        t.fails("Invalid", "store is released", s:delete("a"))
        t.fails("Invalid", "store is released", s:entry("a"))
        t.fails("Invalid", "store is released", s:list())
        t.fails("Invalid", "store is released", s:info())
        t.fails("Invalid", "store is released", s:txn({}))
        t.fails("Invalid", "store is released", s:watch())
        t.fails_with_false("Invalid", "store is released", s:has("a"))
    end)
    return done()
end

return M

-- Where the language differs from Lua 5.3 (lua-core.md §2.1), apart from numbers.
local t = require("expect")
local time = require("time")
local json = require("json")

local function main()
    local case, done = t.cases()

    case("old names", function()
        t.values({ 1, 2, 3, n = 3 }, unpack({ 1, 2, 3 }))
        t.values({ 2, 3, n = 2 }, unpack({ 1, 2, 3 }, 2))
        t.values({ 1, nil, 3, n = 3 }, unpack({ 1, nil, 3 }, 1, 3))
        t.equal({ table.getn({ 1, 2 }), table.maxn({ 1, [10] = 1 }), table.maxn({}) }, { 2, 10, 0 })
        t.equal({ math.pow(2, 10), math.log10(1000), math.mod(7, 3), math.mod(-7, 3) }, { 1024, 3, 1, -1 })
        t.equal({ math.atan2(0, 1), math.sinh(0), math.cosh(0), math.tanh(0) }, { 0, 0, 1, 0 })
        t.values({ 0.5, 4, n = 2 }, math.frexp(8))
        t.values({ 0, 0, n = 2 }, math.frexp(0))
        t.equal(math.ldexp(0.5, 4), 8)
        local words = {}
        for word in string.gfind("a b", "%a") do words[#words + 1] = word end
        t.equal(words, { "a", "b" })
    end)
    case("table.create", function()
        t.equal(table.create(10, 5), {})
        t.equal(#table.create(3, 0), 0)
    end)
    case("pairs meets lists from their first element on", function()
        local function order(list)
            local keys = {}
            for k in pairs(list) do
                if math.type(k) == "integer" then keys[#keys + 1] = k end
            end
            return table.concat(keys, " ")
        end
        t.equal({ order({ "a", "b", "c" }), order({ "a" }), order({ "a", nil, "c", nil }), order({ x = 1, "a", "b", y = 2, "c" }) },
            { "1 2 3", "1", "1 3", "1 2 3" })
        t.equal({ order({ (function() return 1, 2, 3 end)() }), order(table.pack("a", "b", "c")) }, { "1 2 3", "1 2 3" })
        local long, wanted = {}, {}
        for i = 1, 130 do long[i], wanted[i] = i, tostring(i) end
        t.equal(order({ table.unpack(long) }), table.concat(wanted, " "))
        local list = { 1, 2, 3, 4 }
        list[2] = nil
        list[5] = 5
        t.equal({ order(list), (next({ "a", "b" })) }, { "1 3 4 5", 1 })
        for k in pairs(list) do list[k] = nil end
        t.equal({ order(list), #list }, { "", 0 })
    end)
    case("immutable tables", function()
        local inner = { 1 }
        local list = { 3, 1, 2, inner = inner }
        t.equal(table.is_immutable(list), false)
        t.truthy(table.make_immutable(list) == list)
        t.equal(table.is_immutable(list), true)
        t.raises("immutable", function() list[1] = 0 end)
        t.raises("immutable", function() list.new = 0 end)
        t.raises("immutable", function() list[1] = nil end)
        t.raises("", rawset, list, 1, 0)
        t.raises("immutable", table.insert, list, 4)
        t.raises("immutable", table.remove, list)
        t.raises("immutable", table.sort, list)
        t.equal({ list[1], #list, rawget(list, 2), table.concat(list, ","), (select("#", unpack(list))) }, { 3, 3, 1, "3,1,2", 3 })
        local count = 0
        for _ in pairs(list) do count = count + 1 end
        t.equal(count, 4)
        inner[1] = 2
        t.equal(list.inner[1], 2)
        t.truthy(table.make_immutable(list) == list)
    end)
    case("math.randomseed does nothing", function()
        t.values({ n = 0 }, math.randomseed(42))
        math.randomseed(42)
        local first = { math.random(1e9), math.random(1e9), math.random(1e9) }
        math.randomseed(42)
        local second = { math.random(1e9), math.random(1e9), math.random(1e9) }
        t.truthy(first[1] ~= second[1] or first[2] ~= second[2] or first[3] ~= second[3])
    end)
    case("shared libraries are read-only", function()
        for name, library in pairs({ string = string, table = table, math = math, coroutine = coroutine, os = os,
            errors = errors, process = process, channel = channel, payload = payload, time = time, json = json }) do
            t.raises("", function() library.x = 1 end)
            t.raises("", rawset, library, "x", 1)
            t.equal(library.x, nil, name)
        end
        t.raises("", function() string.format = nil end)
        t.raises("", function() getmetatable("").__index = {} end)
        t.raises("", function() getmetatable("").__add = print end)
        t.raises("", setmetatable, string, {})
        t.equal(("x"):rep(2), "xx")
    end)
    case("%z in patterns", function()
        t.values({ 2, 2, n = 2 }, ("a\0b"):find("%z"))
        t.values({ "a-b", 1, n = 2 }, ("a\0b"):gsub("%z", "-"))
        t.equal(("a\0b"):match("[%z]"), "\0")
        t.equal(("a\0b"):match("[^%z]+", 2), "b")
        t.equal(("a\0b"):match("%Z+"), "a")
        t.values({ 2, 2, n = 2 }, ("a\0b"):find("\0"))
    end)
    case("blocking calls inside pcall and coroutines", function()
        t.values({ true, "x", n = 2 }, pcall(function() time.sleep("1ms") return "x" end))
        local ok, err = pcall(function() time.sleep("1ms") error("after", 0) end)
        t.equal({ ok, err }, { false, "after" })
        t.values({ false, "handled: after", n = 2 }, xpcall(
            function() time.sleep("1ms") error("after", 0) end,
            function(e) return "handled: " .. e end))
        local co = coroutine.create(function(a)
            time.sleep("1ms")
            local b = coroutine.yield(a + 1)
            time.sleep("1ms")
            return pcall(function() time.sleep("1ms") return b * 2 end)
        end)
        t.values({ true, 2, n = 2 }, coroutine.resume(co, 1))
        t.values({ true, true, 10, n = 3 }, coroutine.resume(co, 5))
        t.equal(coroutine.status(co), "dead")
        local steps = {}
        for value in coroutine.wrap(function() for i = 1, 3 do time.sleep("1ms") coroutine.yield(i) end end) do
            steps[#steps + 1] = value
        end
        t.equal(steps, { 1, 2, 3 })
    end)
    case("error objects serve as strings", function()
        local err = errors.new({ message = "not found: x", kind = errors.NOT_FOUND })
        t.equal(type(err), "userdata")
        t.equal("why: " .. err, "why: not found: x")
        t.equal(err .. "!", "not found: x!")
        t.equal(err .. err, "not found: xnot found: x")
        t.equal(err .. 1, "not found: x1")
        t.equal(tostring(err), "not found: x")
        t.values({ 1, 9, n = 2 }, string.find(err, "not found"))
        t.equal({ string.upper(err), string.len(err), string.sub(err, -1), string.rep(err, 2, "|") },
            { "NOT FOUND: X", 12, "x", "not found: x|not found: x" })
        t.equal(string.match(err, ": (%a)"), "x")
        t.equal((string.gsub(err, "not ", "")), "found: x")
        t.equal((string.gsub("E", "E", err)), "not found: x")
        t.equal(string.format("%s|%-14s|%.3s", err, err, err), "not found: x|not found: x  |not")
        t.equal(table.concat({ "a", err, 1 }, " "), "a not found: x 1")
        local ok, raised = pcall(error, err)
        t.truthy(not ok and raised == err)
        local ok2, raised2 = pcall(assert, nil, err)
        t.truthy(not ok2 and raised2 == err)
    end)
    return done()
end

return { main = main }

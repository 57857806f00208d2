-- Tables (Lua 5.3 manual §3.4.7, §3.4.9, §6.1, §6.6), apart from sorting.
local t = require("expect")

local function main()
    local case, done = t.cases()
    local max, min = math.maxinteger, math.mininteger

    case("constructors", function()
        local function two() return 1, 2 end
        t.equal({ two(), two() }, { 1, 1, 2 })
        t.equal({ (two()) }, { 1 })
        t.equal({ two(), x = two() }, { 1, x = 1 })
        t.equal({ x = two(), two() }, { 1, 2, x = 1 })
        t.equal(#{ 1, 2, 3; 4, 5, }, 5)
        t.equal({ [1] = "a", "b" }, { "b" })
        t.equal({ ["x y"] = 1, [2 + 1] = 2, [true] = 3 }, { ["x y"] = 1, [3] = 2, [true] = 3 })
        local long = {}
        for i = 1, 300 do long[i] = i end
        t.equal(#{ table.unpack(long) }, 300)
    end)
    case("border", function()
        t.equal({ #{}, #{ nil }, #{ 1, 2, nil }, #{ n = 1 }, #{ 1, 2, 3 } }, { 0, 0, 2, 0, 3 })
        local list = {}
        for i = 1, 100 do list[i] = i end
        t.equal(#list, 100)
        for i = 100, 51, -1 do list[i] = nil end
        t.equal(#list, 50)
        list[51] = true
        t.equal(#list, 51)
    end)
    case("next and pairs", function()
        t.values({ nil, n = 1 }, next({}))
        t.values({ nil, n = 1 }, next({ 10 }, 1))
        t.values({ 1, 10, n = 2 }, next({ 10 }))
        local content, seen = { 1, 2, 3, a = 4, [1.5] = 5, [-1] = 6, [true] = 7, [print] = 8 }, {}
        for k, v in pairs(content) do
            t.equal(seen[k], nil)
            seen[k] = v
        end
        t.equal(seen, content)
        t.raises("", next, {}, "no such key")
        t.raises("table expected", next, 1)
        t.raises("table expected, got nil", function() for _ in pairs(nil) do end end)
        t.raises("value expected", pairs)
    end)
    case("fields change and go during a traversal", function()
        local content = {}
        for i = 1, 200 do content["k" .. i] = i content[i] = i end
        local count = 0
        for k in pairs(content) do
            content[k] = nil
            count = count + 1
        end
        t.equal({ count, (next(content)) }, { 400 })
        for i = 1, 50 do content[i] = i end
        for k, v in pairs(content) do content[k] = v + 1 end
        t.equal({ content[1], content[50] }, { 2, 51 })
    end)
    case("ipairs", function()
        local seen = {}
        for i, v in ipairs({ "a", "b", nil, "d" }) do seen[i] = v end
        t.equal(seen, { "a", "b" })
        seen = {}
        for i, v in ipairs(setmetatable({}, { __index = function(_, i) if i <= 3 then return i * 10 end end })) do seen[i] = v end
        t.equal(seen, { 10, 20, 30 })
        local list, count = { 1 }, 0
        for i in ipairs(list) do
            count = count + 1
            if i < 10 then list[i + 1] = true end
        end
        t.equal(count, 10)
        t.raises("value expected", ipairs)
    end)
    case("keys", function()
        local a, b = {}, {}
        local map = { [a] = 1, [b] = 2, [""] = 3, ["\0"] = 4, [false] = 5 }
        t.equal({ map[a], map[b], map[""], map["\0"], map[false], map[{}] }, { 1, 2, 3, 4, 5 })
        t.equal({ map[nil], map[0 / 0] }, {})
        t.raises("index is nil", function() map[nil] = 1 end)
        t.raises("index is NaN", function() map[0 / 0] = 1 end)
        t.raises("index is nil", function() return { [nil] = 1 } end)
        t.raises("", rawset, map, nil, 1)
        map["x"] = nil
        map[nil == nil and "y"] = 1
        t.equal(map.y, 1)
        map[max], map[min] = "max", "min"
        t.equal({ map[max], map[min], map[max + 0.0] == nil or map[max + 0.0] == "max" }, { "max", "min", true })
    end)
    case("insert", function()
        local list = {}
        t.values({ n = 0 }, table.insert(list, "b"))
        table.insert(list, 1, "a")
        table.insert(list, 3, "d")
        table.insert(list, 3, "c")
        t.equal(list, { "a", "b", "c", "d" })
        for _, position in ipairs({ 0, -1, 6, max, min }) do
            t.raises("position out of bounds", table.insert, list, position, "x")
        end
        t.raises("wrong number of arguments", table.insert, list)
        t.raises("wrong number of arguments", table.insert, list, 1, 2, 3)
        t.raises("number expected", table.insert, list, "x", 1)
        t.raises("table expected", table.insert, 1, 2)
        t.raises("object length is not an integer", table.insert, setmetatable({}, { __len = function() return "abc" end }), 1)
    end)
    case("remove", function()
        local list = { "a", "b", "c", "d" }
        t.values({ "d", n = 1 }, table.remove(list))
        t.values({ "a", n = 1 }, table.remove(list, 1))
        t.values({ nil, n = 1 }, table.remove(list, 3))
        t.equal(list, { "b", "c" })
        t.raises("position out of bounds", table.remove, list, 4)
        t.raises("position out of bounds", table.remove, list, -1)
        t.equal({ table.remove(list), table.remove(list), table.remove(list), table.remove(list, 0) }, { "c", "b" })
        t.equal(table.remove({ [0] = "zero" }, 0), "zero")
        local small = { n = 0 }
        t.values({ nil, n = 1 }, table.remove(small))
        t.equal(small, { n = 0 })
    end)
    case("move", function()
        t.equal({ table.move({ 10, 20, 30 }, 1, 3, 2), table.move({ 10, 20, 30 }, 2, 3, 1), table.move({ 10, 20, 30 }, 1, 3, 3) },
            { { 10, 10, 20, 30 }, { 20, 30, 30 }, { 10, 20, 10, 20, 30 } })
        local to = {}
        t.truthy(table.move({ 1, 2 }, 1, 2, 5, to) == to)
        t.equal({ to, table.move({ 1 }, 1, 0, 3, {}), table.move({ 1, 2, 3 }, 1, 10, 1) }, { { [5] = 1, [6] = 2 }, {}, { 1, 2, 3 } })
        t.equal(table.move({ [max - 1] = 1, [max] = 2 }, max - 1, max, -5, {}), { [-5] = 1, [-4] = 2 })
        t.equal(table.move({ [min] = 7 }, min, min, max), { [min] = 7, [max] = 7 })
        local log = {}
        local logged = setmetatable({}, { __index = function(_, k) return k * 10 end, __newindex = function(_, k, v) log[#log + 1] = k .. "=" .. v end })
        table.move(logged, 1, 3, 2)
        t.equal(log, { "4=30", "3=20", "2=10" })
        t.raises("too many elements to move", table.move, {}, -1, max - 1, 1)
        t.raises("destination wrap around", table.move, {}, 1, 2, max)
        t.raises("table expected", table.move, 1, 2, 3, 4)
    end)
    case("pack and unpack", function()
        t.equal({ table.pack(), table.pack(nil, nil), table.pack("a") }, { { n = 0 }, { n = 2 }, { "a", n = 1 } })
        t.values({ 1, nil, 3, n = 3 }, table.unpack({ 1, nil, 3 }, 1, 3))
        t.values({ 2, 3, n = 2 }, table.unpack({ 1, 2, 3 }, 2))
        t.values({ n = 0 }, table.unpack({ 1, 2, 3 }, 3, 2))
        t.values({ n = 0 }, table.unpack({}, max, min))
        t.values({ nil, 9, n = 2 }, table.unpack({ [max] = 9 }, max - 1, max))
        t.values({ "i1", "i2", n = 2 }, table.unpack(setmetatable({}, { __index = function(_, i) return "i" .. i end, __len = function() return 2 end })))
        t.equal(select("#", table.unpack({}, 1, 5000)), 5000)
        t.raises("too many results to unpack", table.unpack, {}, 1, max)
        t.raises("too many results to unpack", table.unpack, {}, min, max)
        t.raises("number has no integer representation", table.unpack, {}, 1.5)
    end)
    case("raw access", function()
        local object = setmetatable({ 1 }, { __index = function() return "index" end, __newindex = error, __eq = function() return true end,
            __len = function() return 99 end })
        t.equal({ object.x, rawget(object, "x"), rawget(object, 1) }, { "index", nil, 1 })
        t.truthy(rawset(object, "x", 5) == object)
        t.equal(rawget(object, "x"), 5)
        t.equal({ rawequal(object, object), rawequal(object, {}), rawequal("a", "a"), rawequal(1, 1.0) }, { true, false, true, true })
        t.raises("table expected", rawget, "x", 1)
        t.raises("table expected", rawset, "x", 1, 2)
    end)
    case("multiple assignment", function()
        local i, list = 1, {}
        i, list[i] = i + 1, 20
        t.equal({ i, list }, { 2, { 20 } })
        local a, b, c = (function() return 1, 2 end)()
        t.equal({ a, b, c }, { 1, 2 })
        a, b = b, a
        t.equal({ a, b }, { 2, 1 })
        a, b, c = 0
        t.equal({ a, b, c }, { 0 })
        do
            local list2 = { 1, 2 }
            list2[1], list2[2] = list2[2], list2[1]
            t.equal(list2, { 2, 1 })
        end
    end)
    case("large tables", function()
        local list = {}
        for i = 1, 20000 do list[i] = i end
        for i = -100, 0 do list[i] = i end
        t.equal(#list, 20000)
        local sum = 0
        for _, v in ipairs(list) do sum = sum + v end
        t.equal(sum, 200010000)
        local count = 0
        for _ in pairs(list) do count = count + 1 end
        t.equal(count, 20101)
    end)
    return done()
end

return { main = main }

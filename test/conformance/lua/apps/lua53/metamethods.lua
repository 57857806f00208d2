-- Metatables and metamethods (Lua 5.3 manual §2.4, §6.1).
local t = require("expect")

local function main()
    local case, done = t.cases()

    case("every arithmetic and bitwise operator asks for its event, with the operands in order", function()
        local meta, object = {}, nil
        local function event(name)
            meta["__" .. name] = function(a, b) return name, rawequal(a, object), rawequal(b, object), "cut off" end
        end
        for _, name in ipairs({ "add", "sub", "mul", "div", "mod", "pow", "idiv", "band", "bor", "bxor", "shl", "shr", "concat" }) do event(name) end
        object = setmetatable({}, meta)
        t.equal({ object + 1, object - 1, object * 1, object / 1, object % 1, object ^ 1, object // 1 },
            { "add", "sub", "mul", "div", "mod", "pow", "idiv" })
        t.equal({ 1 + object, "x" - object, nil * object, {} / object, true % object, 1.5 ^ object, print // object },
            { "add", "sub", "mul", "div", "mod", "pow", "idiv" })
        t.equal({ object & 1, object | 1.5, object ~ "x", object << 1, object >> nil, 1 & object, 1.5 | object, "x" ~ object, {} << object, 1 >> object },
            { "band", "bor", "bxor", "shl", "shr", "band", "bor", "bxor", "shl", "shr" })
        t.equal({ object .. "x", "x" .. object, 1 .. object, object .. object, nil .. object }, { "concat", "concat", "concat", "concat", "concat" })
        meta.__sub = function(a, b) return { rawequal(a, object), b } end
        t.equal({ object - 5, (function() meta.__sub = function(a, b) return { a, rawequal(b, object) } end return 5 - object end)() },
            { { true, 5 }, { 5, true } })
        t.values({ "add", n = 1 }, object + 1)
    end)
    case("a unary operator gives its operand twice", function()
        local object = setmetatable({}, { __unm = function(a, b) return rawequal(a, b) and "unm" end, __bnot = function(a, b) return rawequal(a, b) and "bnot" end,
            __len = function() return "any value" end })
        t.equal({ -object, ~object, #object }, { "unm", "bnot", "any value" })
    end)
    case("the first operand's metamethod goes before the second's", function()
        local function value(name) return setmetatable({}, { __add = function() return name end, __concat = function() return name end,
            __lt = function() return name == "a" end }) end
        local a, b = value("a"), value("b")
        t.equal({ a + b, b + a, a .. b, b .. a, a < b, b < a }, { "a", "b", "a", "b", true, false })
        t.equal({ setmetatable({}, {}) + b, 1 + b }, { "b", "b" })
    end)
    case("concatenation goes from right to left", function()
        local object = setmetatable({}, { __concat = function(a, b)
            return (type(a) == "table" and "O" or a) .. "+" .. (type(b) == "table" and "O" or b)
        end })
        t.equal({ "a" .. "b" .. object, object .. "a" .. "b", "a" .. object .. "b" .. "c", object .. 1 .. 2 }, { "ab+O", "O+ab", "aO+bc", "O+12" })
    end)
    case("an operator without a metamethod raises", function()
        local plain = setmetatable({}, {})
        t.raises("attempt to perform arithmetic on a table value", function() return plain + 1 end)
        t.raises("attempt to concatenate a table value", function() return plain .. "x" end)
        t.raises("attempt to compare two table values", function() return plain < plain end)
        t.raises("attempt to compare number with table", function() return 1 < plain end)
        t.raises("attempt to call a table value", function() plain() end)
        t.raises("attempt to get length of a nil value", function() local n return #n end)
        t.raises("attempt to perform arithmetic on a nil value", function() return -nil end)
        t.raises("attempt to call a number value", function()
            local object = setmetatable({}, { __add = 5 })
            return object + 1
        end)
    end)
    case("__eq: two tables that are not the same, result to a boolean", function()
        local calls = 0
        local meta = { __eq = function() calls = calls + 1 return "yes" end }
        local a, b = setmetatable({}, meta), setmetatable({}, meta)
        t.values({ true, false, n = 2 }, a == b, a ~= b)
        t.equal(calls, 2)
        t.truthy(a == a and calls == 2)
        t.truthy(a ~= 1 and a ~= "x" and a ~= nil and 1 ~= a and calls == 2)
        t.truthy(a == setmetatable({}, {}) and setmetatable({}, {}) == a)
        t.equal({ calls, rawequal(a, b) }, { 4, false })
        meta.__eq = function() return nil end
        t.values({ false, true, n = 2 }, a == b, a ~= b)
    end)
    case("__lt and __le: any two values of which one has it, result to a boolean", function()
        local meta = {}
        local function value(n) return setmetatable({ n = n }, meta) end
        local function n(x) return type(x) == "table" and x.n or x end
        meta.__lt = function(a, b) return n(a) < n(b) and 1 end
        meta.__le = function(a, b) return n(a) <= n(b) and 1 end
        t.values({ true, false, true, false, n = 4 }, value(1) < value(2), value(1) > value(2), value(1) <= value(1), value(1) >= value(2))
        t.values({ true, false, true, true, n = 4 }, value(1) < 2, 2 < value(1), 1 <= value(1), value(3) > 2)
        t.truthy(not (value(2) < value(2)))
    end)
    case("a <= b without __le is not (b < a)", function()
        local meta = { __lt = function(a, b) return a.n < b.n end }
        local one, two = setmetatable({ n = 1 }, meta), setmetatable({ n = 2 }, meta)
        t.equal({ one <= two, two <= one, one <= one, one >= two }, { true, false, true, false })
    end)
    case("__index: a function or a table, only for absent keys, any depth", function()
        local base = { x = "base x", y = "base y" }
        local middle = setmetatable({ y = "middle y" }, { __index = base })
        local object = setmetatable({ z = 1 }, { __index = middle })
        t.equal({ object.x, object.y, object.z, object.w }, { "base x", "middle y", 1 })
        local seen = {}
        local counted = setmetatable({ here = false }, { __index = function(self, key) seen[#seen + 1] = key return key, "cut off" end })
        t.values({ "k", n = 1 }, counted.k)
        t.equal({ counted.here, counted[1], rawget(counted, "k"), seen }, { false, 1, nil, { "k", 1 } })
        t.equal(setmetatable({}, { __index = setmetatable({}, { __index = function(self, k) return k .. "!" end }) }).deep, "deep!")
        t.equal(setmetatable({}, { __index = "a string" }).upper, string.upper)
        t.raises("attempt to index a number value", function() return setmetatable({}, { __index = 5 }).x end)
    end)
    case("__newindex: a function or a table, only for absent keys", function()
        local target, log = {}, {}
        local object = setmetatable({ here = 1 }, { __newindex = target })
        object.here, object.new = 2, 3
        t.equal({ rawget(object, "here"), rawget(object, "new"), target }, { 2, nil, { new = 3 } })
        local logged = setmetatable({}, { __newindex = function(self, key, value) log[#log + 1] = key .. "=" .. tostring(value) rawset(self, key, value) end })
        logged.a, logged.b = 1, 2
        logged.a = 3
        logged.b = nil
        logged.b = 4
        table.sort(log)
        t.equal({ logged.a, logged.b, log }, { 3, 4, { "a=1", "b=2", "b=4" } })
        t.equal(rawset(setmetatable({}, { __newindex = error }), "x", 1).x, 1)
    end)
    case("chains that lead back to themselves raise", function()
        local loop = {}
        setmetatable(loop, { __index = loop, __newindex = loop })
        t.raises("loop", function() return loop.x end)
        t.raises("loop", function() loop.x = 1 end)
    end)
    case("__call: arguments behind the called value, all results", function()
        local object = setmetatable({ name = "o" }, { __call = function(self, ...) return self.name, select("#", ...), ... end })
        t.values({ "o", 0, n = 2 }, object())
        t.values({ "o", 3, 1, nil, nil, n = 5 }, object(1, nil, nil))
        t.values({ "o", 1, "arg", n = 3 }, object"arg")
        t.values({ true, "o", 1, 5, n = 4 }, pcall(object, 5))
        local list = {}
        local function tail() return object("tail") end
        t.values({ "o", 1, "tail", n = 3 }, tail())
        for k in setmetatable({}, { __call = function(_, _, k) return (k or 0) < 3 and (k or 0) + 1 or nil end }) do list[k] = k end
        t.equal(list, { 1, 2, 3 })
    end)
    case("__tostring and __name", function()
        t.equal(tostring(setmetatable({}, { __tostring = function() return "as text" end })), "as text")
        t.equal(("%s"):format(setmetatable({}, { __tostring = function() return "as text" end })), "as text")
        t.truthy(tostring(setmetatable({}, { __name = "My.Type" })):find("^My%.Type: "))
        t.raises("'__tostring' must return a string", tostring, setmetatable({}, { __tostring = function() return {} end }))
    end)
    case("__metatable hides and protects", function()
        local object = setmetatable({}, { __metatable = "hidden" })
        t.equal(getmetatable(object), "hidden")
        t.raises("cannot change a protected metatable", setmetatable, object, {})
        t.raises("cannot change a protected metatable", setmetatable, object, nil)
        local meta = {}
        local open = setmetatable({}, meta)
        t.truthy(getmetatable(open) == meta and setmetatable(open, nil) == open and getmetatable(open) == nil)
        t.raises("nil or table expected", setmetatable, {})
        t.raises("table expected", setmetatable, 1, {})
    end)
    case("__pairs gives pairs its three values", function()
        local object = setmetatable({ hidden = true }, { __pairs = function(self) return function(s, k) return (k or 0) < s.n and (k or 0) + 1 or nil end, { n = 2 }, nil, "cut off" end })
        local keys = {}
        for k in pairs(object) do keys[#keys + 1] = k end
        t.equal({ keys, (select("#", pairs(object))), next(object) }, { { 1, 2 }, 3, "hidden", true })
    end)
    case("metamethods are looked up raw in the metatable, at the time of use", function()
        local meta = setmetatable({}, { __index = { __add = function() return "inherited" end } })
        local object = setmetatable({}, meta)
        t.raises("arithmetic", function() return object + 1 end)
        meta.__add = function() return "now" end
        t.equal(object + 1, "now")
        meta.__add = nil
        t.raises("arithmetic", function() return object + 1 end)
    end)
    case("library functions respect __index, __newindex and __len", function()
        local stored = { "a", "b", "c" }
        local proxy = setmetatable({}, { __index = stored, __newindex = stored, __len = function() return #stored end })
        table.insert(proxy, "d")
        table.insert(proxy, 1, "z")
        t.equal({ table.remove(proxy, 2), table.concat(proxy, ","), table.unpack(proxy) }, { "a", "z,b,c,d", "z", "b", "c", "d" })
        table.sort(proxy, function(a, b) return a > b end)
        t.equal({ stored, rawget(proxy, 1) }, { { "z", "d", "c", "b" } })
    end)
    case("an assignment may go through several metamethods in one statement", function()
        local log = {}
        local object = setmetatable({}, { __index = function(_, k) log[#log + 1] = "get " .. k return k end, __newindex = function(_, k, v) log[#log + 1] = "set " .. k .. " " .. v end })
        object.a = object.b .. object.c
        t.equal(log, { "get b", "get c", "set a bc" })
    end)
    case("inheritance with methods", function()
        local Base = {}
        Base.__index = Base
        function Base.new(class, name) return setmetatable({ name = name }, class) end
        function Base:greet() return "hello " .. self.name end
        local Derived = setmetatable({}, { __index = Base })
        Derived.__index = Derived
        function Derived:greet() return Base.greet(self) .. "!" end
        t.equal({ Base:new("a"):greet(), Derived:new("b"):greet() }, { "hello a", "hello b!" })
    end)
    return done()
end

return { main = main }

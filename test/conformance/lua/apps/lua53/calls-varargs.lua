-- Functions, calls and varargs (Lua 5.3 manual §3.4.10-11, §3.3.4, select and table.unpack of §6).
local t = require("expect")

local function main()
    local case, done = t.cases()

    case("missing arguments are nil, further ones are dropped", function()
        local function f(a, b) return a, b end
        t.values({ nil, nil, n = 2 }, f())
        t.values({ 1, nil, n = 2 }, f(1))
        t.values({ 1, 2, n = 2 }, f(1, 2, 3))
        t.values({ n = 0 }, (function() end)(1, 2))
    end)
    case("varargs keep their number, nils included", function()
        local function count(...) return select("#", ...) end
        t.equal({ count(), count(nil), count(nil, nil), count(1, nil, nil) }, { 0, 1, 2, 3 })
        local function list(...) return { ... }, { n = select("#", ...), ... } end
        local plain, counted = list(1, nil, 3)
        t.equal({ plain[1], plain[3], counted.n }, { 1, 3, 3 })
        local function pass(...) return ... end
        t.values({ 1, nil, n = 2 }, pass(1, nil))
        t.values({ n = 0 }, pass())
    end)
    case("only the last expression of a list expands", function()
        local function three() return 1, 2, 3 end
        local function none() end
        t.values({ 1, 1, 2, 3, n = 4 }, three(), three())
        t.values({ 1, n = 1 }, (three()))
        t.values({ nil, n = 1 }, (none()))
        t.values({ nil, 5, n = 2 }, none(), 5)
        t.equal({ none(), three() }, { nil, 1, 2, 3 })
        local a, b, c, d = three()
        t.equal({ a, b, c, d }, { 1, 2, 3 })
        local function mid(...) local x, y = ..., "end" return x, y end
        t.values({ "first", "end", n = 2 }, mid("first", "second"))
        t.values({ 1, n = 1 }, (function(...) return (...) end)(1, 2))
        t.equal({ ("x"):rep((three())), #{ three(), nil } }, { "x", 1 })
    end)
    case("varargs beside fixed parameters", function()
        local function f(a, ...) return a, select("#", ...), ... end
        t.values({ nil, 0, n = 2 }, f())
        t.values({ 1, 0, n = 2 }, f(1))
        t.values({ 1, 2, 2, nil, n = 4 }, f(1, 2, nil))
        local object = { m = function(self, ...) return self ~= nil, ... end }
        t.values({ true, 7, 8, n = 3 }, object:m(7, 8))
    end)
    case("varargs of a function are not those of the one inside", function()
        local function outer(...)
            local n = select("#", ...)
            return (function(...) return select("#", ...), n end)("only")
        end
        t.values({ 1, 3, n = 2 }, outer(1, 2, 3))
    end)
    case("select", function()
        t.values({ "b", "c", n = 2 }, select(2, "a", "b", "c"))
        t.values({ n = 0 }, select(4, "a", "b", "c"))
        t.values({ n = 0 }, select(100))
        t.values({ "c", n = 1 }, select(-1, "a", "b", "c"))
        t.values({ "a", "b", "c", n = 3 }, select(-3, "a", "b", "c"))
        t.values({ nil, n = 1 }, select(3, 1, 2, nil))
        t.values({ "b", n = 1 }, select("2", "a", "b"))
        t.raises("index out of range", select, 0)
        t.raises("index out of range", select, -4, 1, 2, 3)
        t.raises("number expected", select, {})
    end)
    case("many arguments and results", function()
        local list = {}
        for i = 1, 200 do list[i] = i end
        local function count(...) return select("#", ...), (select(-1, ...)) end
        t.values({ 200, 200, n = 2 }, count(table.unpack(list)))
        for i = 201, 5000 do list[i] = i end
        t.values({ 5000, 5000, n = 2 }, count(table.unpack(list)))
        t.equal(#{ table.unpack(list) }, 5000)
        t.equal({ math.max(table.unpack(list)), #string.char(table.unpack({ 65, 66, 67 })) }, { 5000, 3 })
        t.values({ 1, 200, n = 2 }, (function(...) local a = ... return a, (select(200, ...)) end)(table.unpack(list)))
    end)
    case("tail calls need no stack", function()
        local function even(n) if n == 0 then return true end return (function(m) return even(m) end)(n - 1) end
        local function down(n) if n > 0 then return down(n - 1) end return "down" end
        local object = { step = function(self, n) if n == 0 then return "method" end return self:step(n - 1) end }
        t.equal({ even(2000), down(200000), object:step(50000) }, { true, "down", "method" })
        local function with(n, ...) if n == 0 then return select("#", ...) end return with(n - 1, ...) end
        t.equal(with(5000, 1, 2, 3), 3)
    end)
    case("recursion", function()
        local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
        local function depth(n) if n == 0 then return 0 end return 1 + depth(n - 1) end
        t.equal({ fib(15), depth(5000) }, { 610, 5000 })
        local Y = function(f) return (function(x) return x(x) end)(function(x) return f(function(...) return x(x)(...) end) end) end
        t.equal(Y(function(self) return function(n) return n == 0 and 1 or n * self(n - 1) end end)(10), 3628800)
    end)
    case("methods: the value before the colon is evaluated once", function()
        local calls = 0
        local object = { v = 1 }
        function object:add(n) self.v = self.v + n return self end
        function object.static(n) return n end
        local function get() calls = calls + 1 return object end
        t.equal({ get():add(1):add(2).v, calls, object.static(9) }, { 4, 1, 9 })
        local nested = { a = { b = {} } }
        function nested.a.b:f(x) return self == nested.a.b, x end
        function nested.a.g(x) return x end
        t.values({ true, 5, n = 2 }, nested.a.b:f(5))
        t.equal(nested.a.g(6), 6)
    end)
    case("arguments are evaluated from left to right, before the call", function()
        local log = {}
        local function say(x) log[#log + 1] = x return x end
        local function f() log[#log + 1] = "call" end
        f(say(1), say(2), say(3))
        t.equal(log, { 1, 2, 3, "call" })
    end)
    case("type, tostring, assert, pcall without their arguments raise", function()
        t.raises("value expected", type)
        t.raises("value expected", tostring)
        t.raises("value expected", assert)
        t.raises("value expected", pcall)
        t.values({ 1, nil, 3, n = 3 }, assert(1, nil, 3))
        t.values({ false, "message", n = 2 }, pcall(assert, false, "message"))
        t.raises("assertion failed!", assert, nil)
        local value = {}
        t.values({ false, value, n = 2 }, pcall(assert, false, value, "dropped"))
    end)
    case("functions are values by identity", function()
        local function make() return function() end end
        local f = make()
        t.truthy(f == f and print == print and f ~= print)
        t.equal({ type(f), type(print), ({ [f] = "found" })[f] }, { "function", "function", "found" })
    end)
    return done()
end

return { main = main }

-- Variables, blocks, closures and goto (Lua 5.3 manual §3.3.4, §3.5, §3.4.10).
local t = require("expect")

local function main()
    local case, done = t.cases()

    case("a local is visible from the statement after its declaration", function()
        local x = 1
        local x = x + 1
        t.equal(x, 2)
        do
            local x = x * 10
            t.equal(x, 20)
        end
        t.equal(x, 2)
        local f = function() return f end
        t.equal(f(), nil)
        local function g(n) return n == 0 and g or g(n - 1) end
        t.equal(g(2), g)
    end)
    case("the condition of until sees the locals of its block", function()
        local count = 0
        repeat
            local last = count >= 3
            count = count + 1
        until last
        t.equal(count, 4)
        local fns = {}
        repeat
            local n = #fns
            fns[n + 1] = function() return n end
        until fns[n + 1]() >= 4
        t.equal({ #fns, fns[1](), fns[5]() }, { 5, 0, 4 })
    end)
    case("each turn of a loop has its own variables", function()
        local fns = {}
        for i = 1, 3 do fns[#fns + 1] = function() i = i + 10 return i end end
        for _, v in ipairs({ "a", "b" }) do fns[#fns + 1] = function() return v end end
        local n = 0
        while n < 2 do
            n = n + 1
            local own = n
            fns[#fns + 1] = function() own = own * 2 return own end
        end
        t.equal({ fns[1](), fns[1](), fns[2](), fns[3](), fns[4](), fns[5](), fns[6](), fns[6](), fns[7]() }, { 11, 21, 12, 13, "a", "b", 2, 4, 4 })
    end)
    case("closures share the variable, not its value", function()
        local function counter()
            local n = 0
            return function() n = n + 1 return n end, function() return n end, function(value) n = value end
        end
        local up, get, set = counter()
        local up2, get2 = counter()
        up() up() up2() set(get() * 10)
        t.equal({ up(), get(), get2() }, { 21, 21, 1 })
    end)
    case("upvalues of upvalues, through functions in between", function()
        local function outer(a)
            return function(b)
                return function(c)
                    a, b, c = a + 1, b + 1, c + 1
                    return a * 100 + b * 10 + c
                end
            end
        end
        local middle = outer(0)
        local first, second = middle(0), middle(5)
        t.equal({ first(0), second(0), first(0) }, { 111, 261, 321 })
    end)
    case("a closure keeps what it holds after errors and breaks", function()
        local get
        local ok = pcall(function()
            local kept = "kept"
            get = function() return kept end
            kept = kept .. "!"
            error("out")
        end)
        t.equal({ ok, get() }, { false, "kept!" })
        local set
        for i = 1, 10 do
            local v = i
            get, set = function() return v end, function(x) v = x end
            if i == 3 then break end
        end
        set(get() * 2)
        t.equal(get(), 6)
    end)
    case("closures of a coroutine see its variables before and after", function()
        local co = coroutine.wrap(function()
            local x = 1
            coroutine.yield(function(d) x = x + d return x end)
            return x
        end)
        local add = co()
        t.equal({ add(5), add(1), co(), add(1) }, { 6, 7, 7, 8 })
    end)
    case("parameters are locals that closures can hold", function()
        local function make(a, ...)
            local rest = { ... }
            return function(b) a = a + b return a, #rest end
        end
        local f = make(1, "x", "y")
        f(2)
        t.values({ 6, 2, n = 2 }, f(3))
    end)
    case("many locals and upvalues", function()
        local a1, a2, a3, a4, a5, a6, a7, a8, a9, a10 = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
        local b1, b2, b3, b4, b5, b6, b7, b8, b9, b10 = 11, 12, 13, 14, 15, 16, 17, 18, 19, 20
        local function sum()
            return a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + b1 + b2 + b3 + b4 + b5 + b6 + b7 + b8 + b9 + b10
        end
        a1, b10 = 101, 120
        t.equal(sum(), 410)
    end)
    case("_ENV is where global names are looked up", function()
        local function inside()
            local _ENV = { x = "own" }
            y = x
            return _ENV
        end
        t.equal(inside(), { x = "own", y = "own" })
        local function given(_ENV) return a, b end
        t.values({ 1, nil, n = 2 }, given({ a = 1 }))
        t.raises("attempt to index a nil value (upvalue '_ENV')", function()
            local _ENV = nil
            return (function() return x end)()
        end)
        t.truthy(_ENV == _G or _ENV._G == _G)
        local log = {}
        do
            local _ENV = setmetatable({}, { __index = function(_, k) return "get " .. k end, __newindex = function(_, k, v) log[k] = v end })
            name = other
        end
        t.equal(log, { name = "get other" })
    end)
    case("assignments evaluate everything before they assign", function()
        local a = { 1, 2, 3 }
        local i = 1
        i, a[i], a[i + 1] = i + 1, 20, 30
        t.equal({ i, a }, { 2, { 20, 30, 3 } })
        local x, y, z = 1, 2, 3
        x, y, z = z, x, y
        t.equal({ x, y, z }, { 3, 1, 2 })
        local function two() return 1, 2 end
        x, y, z = two()
        t.equal({ x, y, z }, { 1, 2 })
        x, y, z = two(), 10
        t.equal({ x, y, z }, { 1, 10 })
        x, y, z = 0, (two())
        t.equal({ x, y, z }, { 0, 1 })
    end)
    case("constants that are folded give what the run time would", function()
        local two, three, zero = 2, 3, 0
        t.equal({ 2 + 3, 2 - 3, 2 * 3, 2 / 3, 2 % 3, 2 ^ 3, 2 // 3, 2 & 3, 2 | 3, 2 ~ 3, 2 << 3, 2 >> 3, -2, ~2 },
            { two + three, two - three, two * three, two / three, two % three, two ^ three, two // three, two & three, two | three, two ~ three, two << three,
                two >> three, -two, ~two })
        t.equal({ 1 / 0 == 1 / zero, -1 / 0 == -1 / zero, 0 / 0 ~= 0 / 0, 1 / -0.0 == -math.huge, 1 / (0.0 * -1) == -math.huge }, { true, true, true, true, true })
        t.equal({ math.type(4 / 2), math.type(2 ^ 2), math.type(7 // 2), math.type(7 // 2.0), math.type(-3), math.type(3 | 0) },
            { "float", "float", "integer", "float", "integer", "integer" })
        t.equal({ not nil, not false, not 0, not "", not not nil, 1 and nil, false == nil }, { true, true, false, false, false, nil, false })
        t.raises("attempt to perform 'n%0'", function() return 1 % 0 end)
        t.raises("attempt to perform arithmetic", function() return "x" + 1 end)
    end)
    case("short circuits", function()
        local log = {}
        local function say(v, name) log[#log + 1] = name return v end
        local r = { say(nil, "a") and say(1, "b"), say(1, "c") or say(2, "d"), say(false, "e") or say(nil, "f"), say(1, "g") and say(false, "h") }
        t.equal({ log, r[2], r[4] }, { { "a", "c", "e", "f", "g", "h" }, 1, false })
        t.equal({ nil == false, 1 and 2 or 3, nil and 2 or 3, false or nil == nil, (1 or 2) and 3, not (1 and nil) }, { false, 2, 3, true, 3, true })
        local x = 5
        if not (x > 3 and x < 10) or x == 7 then t.truthy(false) end
        t.equal(x > 3 and (x < 4 and "a" or x > 4 and "b") or "c", "b")
    end)
    case("goto: forwards, backwards, out of blocks", function()
        local log = {}
        local n = 0
        ::again::
        n = n + 1
        if n < 3 then goto again end
        for i = 1, 3 do
            for j = 1, 3 do
                if j == 2 then goto next_i end
                log[#log + 1] = i * 10 + j
            end
            ::next_i::
        end
        do
            goto over
            log[#log + 1] = "never"
        end
        ::over::
        t.equal({ n, log }, { 3, { 11, 21, 31 } })
    end)
    case("goto: the same name in separate blocks, and continue at the end of a block", function()
        local sum = 0
        for i = 1, 10 do
            if i % 2 == 0 then goto continue end
            local odd = i
            sum = sum + odd
            ::continue::
        end
        while true do
            do goto continue end
            ::continue::
            break
        end
        do ::continue:: end
        t.equal(sum, 25)
    end)
    case("goto: a jump back gives fresh locals to closures", function()
        local fns = {}
        do
            local i = 1
            ::top::
            local x = i
            fns[i] = function() x = x + 1 return x end
            i = i + 1
            if i <= 3 then goto top end
        end
        t.equal({ fns[1](), fns[1](), fns[2](), fns[3]() }, { 2, 3, 3, 4 })
    end)
    case("numeric for leaves its bounds alone; generic for evaluates once", function()
        local from, to, step, calls = 1, 3, 1, 0
        local n = 0
        for i = from, to, step do
            from, to, step = 100, 100, 100
            n = n + 1
        end
        local function list() calls = calls + 1 return ipairs({ 1, 2 }) end
        for _ in list() do end
        t.equal({ n, calls }, { 3, 1 })
        local function iterate(state, control) if control < state.last then return control + 1, control * control end end
        local seen = {}
        for i, square in iterate, { last = 3 }, 0 do seen[#seen + 1] = i .. ":" .. square end
        t.equal(seen, { "1:0", "2:1", "3:4" })
        t.raises("attempt to call a nil value", function() for _ in nil do end end)
        t.raises("attempt to call a table value", function() for _ in {} do end end)
    end)
    case("semicolons, parentheses and calls without parentheses", function()
        ;;;
        local function f(...) return select("#", ...), ... end
        t.values({ 1, "x", n = 2 }, f"x");
        t.values({ 1, "x", n = 2 }, f[[x]])
        t.equal({ f{ 1 } }, { 1, { 1 } })
        local s = { m = function(self, x) return self.v .. x end, v = "v" };
        (function() s.v = "w" end)()
        t.equal({ s:m"1", s:m[[2]], ("x"):rep(3), #"abc" }, { "w1", "w2", "xxx", 3 })
        t.values({ 1, n = 1 }, ((f())) + 1)
    end)
    return done()
end

return { main = main }

-- Lua 5.3 itself, where engines tend to differ.
local t = require("expect")

local function main()
    local case, done = t.cases()

    case("goto, varargs, multiple results", function()
        local seen = {}
        for i = 1, 3 do
            for j = 1, 3 do
                if j == 2 then goto next end
                seen[#seen + 1] = i * 10 + j
            end
            ::next::
        end
        t.equal(seen, { 11, 21, 31 })
        local function count(...) return select("#", ...), ... end
        t.values({ 3, nil, 2, nil, n = 4 }, count(nil, 2, nil))
        t.values({ 2, nil, n = 2 }, (count(nil, nil)), nil)
        t.equal({ count(1), count(2) }, { 1, 1, 2 })
        t.equal(table.pack(count()), { 0, n = 1 })
        t.values({ "c", n = 1 }, select(-1, "a", "b", "c"))
    end)
    case("metamethods", function()
        local meta = {}
        local function value(n) return setmetatable({ n = n }, meta) end
        for name, fn in pairs({
            __add = function(a, b) return "add" end, __idiv = function() return "idiv" end, __band = function() return "band" end,
            __shl = function() return "shl" end, __bnot = function() return "bnot" end, __unm = function() return "unm" end,
            __concat = function() return "concat" end, __len = function() return 42 end, __call = function(_, x) return x end,
            __eq = function(a, b) return a.n == b.n end, __lt = function(a, b) return a.n < b.n end,
            __le = function(a, b) return a.n <= b.n end, __index = function(_, k) return k .. "!" end,
            __tostring = function(self) return "value " .. self.n end, __name = "Value",
        }) do meta[name] = fn end
        local a, b = value(1), value(2)
        t.equal({ a + 1, 1 // a, a & 1, a << 1, ~a, -a, a .. "x", #a, a(7), a.k }, {
            "add", "idiv", "band", "shl", "bnot", "unm", "concat", 42, 7, "k!" })
        t.equal({ a == value(1), a ~= b, a < b, a <= b, a > b, rawequal(a, value(1)) }, { true, true, true, true, false, false })
        t.equal(tostring(a), "value 1")
        meta.__pairs = function(self) return function(_, k) if not k then return 1, 2 end end, self, nil end
        for k, v in pairs(a) do t.equal({ k, v }, { 1, 2 }) end
        meta.__metatable = "locked"
        t.equal(getmetatable(a), "locked")
        t.raises("protected", setmetatable, a, {})
    end)
    case("closures", function()
        local fns = {}
        for i = 1, 3 do
            local x = i
            fns[i] = function() x = x + i return x end
        end
        t.equal({ fns[1](), fns[1](), fns[2](), fns[3]() }, { 2, 3, 4, 6 })
        local function loop(n) if n == 0 then return "end" end return loop(n - 1) end
        t.equal(loop(100000), "end")
    end)
    case("strings and patterns", function()
        t.equal({ "\x41\65\z   B", "\u{20ac}", #"\0a", 'a\
b' }, { "AAB", "\xe2\x82\xac", 2, "a\nb" })
        t.equal({ ("test"):sub(-2), ("test"):sub(2, -2), ("abc"):byte(-1), ("x"):byte(10) }, { "st", "es", 99 })
        t.equal({ ("abc"):gsub("", "-") }, { "-a-b-c-", 4 })
        t.equal({ ("abc"):gsub("%w", "%0%0", 2) }, { "aabbc", 2 })
        t.equal({ ("hello"):gsub("l", { l = "L" }) }, { "heLLo", 2 })
        t.equal({ ("abc"):gsub("b", function() return nil end) }, { "abc", 1 })
        t.equal({ ("key = v"):match("^(%w+)%s*=%s*(%w+)$") }, { "key", "v" })
        t.equal({ ("f(a(b)c)d"):match("%b()"), ("THE (quick) fox"):find("%((%a+)%)") }, { "(a(b)c)", 5, 11, "quick" })
        t.equal((("THE fox"):gsub("%f[%a]%a+", string.lower)), "the fox")
        t.equal({ ("a,b,,c"):match("()b()") }, { 3, 4 })
        t.equal({ ("a.b"):find(".", 1, true), ("abc"):find("b", -1) }, { 2, nil })
        t.equal({ "a" < "b", "Z" < "a", "" < "a", "a" < "aa", "\xff" > "a" }, { true, true, true, true, true })
        t.equal(string.unpack("<i4", string.pack("<i4", -2)), -2)
        t.raises("malformed pattern", string.find, "a", "[a")
        t.raises("malformed pattern", string.find, "a", "%")
    end)
    case("tables", function()
        local list = { 1, 2, 3 }
        table.insert(list, 2, 9)
        t.equal({ table.remove(list, 1), table.remove(list), table.unpack(list) }, { 1, 3, 9, 2 })
        t.equal(table.move({ 1, 2, 3 }, 2, 3, 1), { 2, 3, 3 })
        local names = { "b", "a", "c" }
        table.sort(names, function(a, b) return a > b end)
        t.equal(names, { "c", "b", "a" })
        local seen = 0
        local t2 = { a = 1, b = 2, c = 3 }
        for k in pairs(t2) do t2[k] = nil seen = seen + 1 end
        t.equal({ seen, next(t2) }, { 3 })
        t.raises("index is nil", function() t2[nil] = 1 end)
        t.raises("index is NaN", function() t2[0 / 0] = 1 end)
        t.raises("wrong number of arguments", table.insert, {}, 1, 2, 3)
        t.raises("invalid order function", function()
            local wild = {}
            for i = 1, 100 do wild[i] = i % 7 end
            table.sort(wild, function() return true end)
        end)
    end)
    case("errors", function()
        t.values({ false, nil, n = 2 }, pcall(error))
        local value = {}
        t.values({ false, value, n = 2 }, pcall(error, value))
        t.raises("language:core:", function() error("x") end)
        t.equal(select(2, pcall(error, "x", 0)), "x")
        t.raises("attempt to index a nil value (local 'nothing')", function() local nothing return nothing.x end)
        t.raises("attempt to call a nil value (global 'nobody')", function() nobody() end)
        t.raises("attempt to compare number with string", function() return 1 < "2" end)
        t.raises("attempt to perform arithmetic on a table value", function() return {} + 1 end)
        t.raises("attempt to concatenate a nil value", function() return "a" .. nil end)
        t.values({ false, "h", n = 2 }, xpcall(function() error("x") end, function() return "h" end))
        t.raises("stack overflow", function() local function f() return 1 + f() end return f() end)
    end)
    case("coroutines", function()
        local co = coroutine.create(function(a, b)
            local c = coroutine.yield(a + b)
            local d, e = coroutine.yield(c * 2)
            return d + e
        end)
        t.values({ true, 3, n = 2 }, coroutine.resume(co, 1, 2))
        t.values({ true, 20, n = 2 }, coroutine.resume(co, 10))
        t.values({ true, 7, n = 2 }, coroutine.resume(co, 3, 4))
        t.values({ false, "cannot resume dead coroutine", n = 2 }, coroutine.resume(co))
        local failing = coroutine.create(function() error("x", 0) end)
        t.values({ false, "x", n = 2 }, coroutine.resume(failing))
        t.equal({ coroutine.status(failing), coroutine.isyieldable() }, { "dead", true })
        t.raises("x", coroutine.wrap(function() error("x") end))
    end)
    return done()
end

return { main = main }

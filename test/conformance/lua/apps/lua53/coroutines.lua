-- Coroutines (Lua 5.3 manual §2.6, §6.2).
local t = require("expect")

local function main()
    local case, done = t.cases()
    local create, resume, yield, status, wrap = coroutine.create, coroutine.resume, coroutine.yield, coroutine.status, coroutine.wrap

    -- All that a coroutine yields, and what it returns at last.
    local function drain(fn, ...)
        local co, out = create(fn), {}
        local result = table.pack(resume(co, ...))
        while status(co) == "suspended" do
            out[#out + 1] = result[2]
            result = table.pack(resume(co, #out))
        end
        return out, table.unpack(result, 1, result.n)
    end

    case("values go in and out in any number", function()
        local co = create(function(...)
            local n = select("#", ...)
            local a, b, c = yield(n, ...)
            local none = select("#", yield(a, b, c))
            yield(none)
            return "end", nil
        end)
        t.values({ true, 2, 1, nil, n = 4 }, resume(co, 1, nil))
        t.values({ true, "a", "b", nil, n = 4 }, resume(co, "a", "b"))
        t.values({ true, 0, n = 2 }, resume(co))
        t.values({ true, "end", nil, n = 3 }, resume(co))
        t.values({ false, "cannot resume dead coroutine", n = 2 }, resume(co))
    end)
    case("states", function()
        local co, seen
        co = create(function()
            seen = status(co)
            local inner = create(function() seen = seen .. " " .. status(co) end)
            resume(inner)
            yield()
        end)
        t.equal(status(co), "suspended")
        resume(co)
        t.equal({ seen, status(co) }, { "running normal", "suspended" })
        resume(co)
        t.equal(status(co), "dead")
        local failed = create(function() error("x") end)
        resume(failed)
        t.equal({ status(failed), status(coroutine.running()) }, { "dead", "running" })
        t.raises("expected", status, 1)
        t.raises("expected", create, 1)
        t.raises("expected", resume, print)
        t.raises("expected", wrap, nil)
    end)
    case("running and isyieldable", function()
        local main_thread, is_main = coroutine.running()
        t.equal({ type(main_thread), is_main }, { "thread", (select(2, coroutine.running())) })
        local co
        co = create(function() return coroutine.running() == co, select(2, coroutine.running()), coroutine.isyieldable(), coroutine.running() == main_thread end)
        t.values({ true, true, false, true, false, n = 5 }, resume(co))
        t.truthy(co == co and create(print) ~= create(print))
    end)
    case("wrap", function()
        local gen = wrap(function(a) local b = yield(a + 1) return b * 2 end)
        t.equal({ type(gen), gen(1), gen(10) }, { "function", 2, 20 })
        t.raises("cannot resume dead coroutine", gen)
        local value = {}
        t.values({ false, value, n = 2 }, pcall(wrap(function() error(value) end)))
        t.raises("inside", wrap(function() error("inside") end))
        t.values({ n = 0 }, wrap(function() end)())
    end)
    case("what a coroutine cannot do to itself and to those that wait for it", function()
        local co
        co = create(function() return resume(co) end)
        t.values({ true, false, "cannot resume non-suspended coroutine", n = 3 }, resume(co))
        local outer
        outer = create(function() return wrap(function() return resume(outer) end)() end)
        local _, outer_ok, outer_err = resume(outer)
        t.equal(outer_ok, false)
        t.contains(outer_err, "cannot resume")
        local self
        self = wrap(function() return pcall(self) end)
        local ok, inner_ok, err = true, self()
        t.equal(inner_ok, false)
        t.contains(err, "cannot resume")
    end)
    case("generators", function()
        local function range(n) return wrap(function() for i = 1, n do yield(i) end end) end
        local function filter(gen, keep) return wrap(function() for v in gen do if keep(v) then yield(v) end end end) end
        local out = {}
        for v in filter(range(20), function(v) return v % 3 == 0 end) do out[#out + 1] = v end
        t.equal(out, { 3, 6, 9, 12, 15, 18 })
        local function primes(limit)
            local gen, list = wrap(function() for i = 2, limit do yield(i) end end), {}
            while true do
                local n = gen()
                if n == nil then return list end
                list[#list + 1] = n
                gen = filter(gen, function(v) return v % n ~= 0 end)
            end
        end
        t.equal(primes(30), { 2, 3, 5, 7, 11, 13, 17, 19, 23, 29 })
        local function permute(list, n)
            n = n or #list
            if n <= 1 then yield(table.concat(list)) end
            for i = 1, n do
                list[n], list[i] = list[i], list[n]
                permute(list, n - 1)
                list[n], list[i] = list[i], list[n]
            end
        end
        local all = drain(function() permute({ "a", "b", "c" }) end)
        table.sort(all)
        t.equal(all[1] .. all[#all], "abccba")
    end)
    case("yield across pcall and xpcall", function()
        local co = create(function()
            local ok, a = pcall(function() return yield(1) + 1 end)
            local ok2, err = pcall(function() yield(2) error("caught", 0) end)
            local ok3, handled = xpcall(function() yield(3) error("x", 0) end, function(e) return "handled " .. e end)
            local ok4, deep = pcall(pcall, pcall, function() yield(4) error("deep", 0) end)
            return ok, a, ok2, err, ok3, handled, ok4, deep
        end)
        for i = 1, 4 do t.values({ true, i, n = 2 }, resume(co, i * 10)) end
        t.values({ true, true, 21, false, "caught", false, "handled x", true, true, n = 9 }, resume(co, 0))
        local loop = create(function()
            for i = 1, 3 do
                local ok, err = pcall(function() yield(i) if i == 2 then error("two", 0) end end)
                if not ok then yield(err) end
            end
        end)
        local out = {}
        while status(loop) ~= "dead" do out[#out + 1] = select(2, resume(loop)) end
        t.equal(out, { 1, 2, "two", 3 })
    end)
    case("yield inside metamethods", function()
        local meta = {}
        local function event(name) meta["__" .. name] = function(a, b) return yield(name) or name end end
        for _, name in ipairs({ "add", "sub", "mul", "div", "mod", "pow", "idiv", "band", "bor", "bxor", "shl", "shr", "unm", "bnot", "len", "concat", "index", "call" }) do
            event(name)
        end
        local log = {}
        meta.__newindex = function(_, k, v) log[1] = k .. "=" .. v .. yield("newindex") end
        meta.__eq = function() return yield("eq") == "yes" end
        meta.__lt = function() return yield("lt") == "yes" end
        meta.__le = function() return yield("le") == "yes" end
        local a, b = setmetatable({}, meta), setmetatable({}, meta)
        local names, given = {}, {}
        local co = create(function()
            local r = { a + 1, 1 - a, a * a, a / 1, a % 1, a ^ 1, a // 1, a & 1, a | 1, a ~ 1, a << 1, a >> 1, -a, ~a, #a, a .. "x", a.key, a() }
            a.k = "v"
            r[#r + 1] = tostring(a == b) .. tostring(a ~= b) .. tostring(a < b) .. tostring(a <= b) .. tostring(a > b) .. tostring(a >= b)
            if a < b then r[#r + 1] = "then" else r[#r + 1] = "else" end
            while a <= b do r[#r + 1] = "turn" end
            r[#r + 1] = not (a == b)
            return r
        end)
        local answers = { eq = "yes", lt = "yes", newindex = "!", le = "no" }
        local ok, value = resume(co)
        while status(co) ~= "dead" do
            names[#names + 1] = value
            ok, value = resume(co, answers[value] or value .. "!")
        end
        t.equal(table.concat(names, " "), "add sub mul div mod pow idiv band bor bxor shl shr unm bnot len concat index call newindex eq eq lt le lt le lt le eq")
        t.equal(ok, true)
        t.equal({ value[1], value[6], value[15], value[18], value[19], value[20], value[21], log[1] },
            { "add!", "pow!", "len!", "call!", "truefalsetruefalsetruefalse", "then", false, "k=v!" })
    end)
    case("yield inside a concatenation of several values", function()
        local object = setmetatable({}, { __concat = function(a, b)
            if type(a) == "table" then a = "O" end
            if type(b) == "table" then b = "O" end
            return yield(a .. "," .. b)
        end })
        local out, ok, result = drain(function() return "a" .. "b" .. object .. "c" .. "d" end)
        t.equal({ out, ok, result }, { { "O,cd" }, true, "ab1" })
    end)
    case("yield inside iterators and __pairs", function()
        local out, ok, sum = drain(function()
            local total = 0
            for i, v in function(_, i) i = yield(i) if i < 4 then return i, i * 10 end end, nil, 0 do total = total + v end
            return total
        end)
        t.equal({ out, ok, sum }, { { 0, 1, 2, 3 }, true, 60 })
        local nested = wrap(function()
            for a in wrap(function() yield("a") yield("b") end) do
                for b in wrap(function() yield(1) yield(2) end) do yield(a .. b) end
            end
        end)
        t.equal({ nested(), nested(), nested(), nested(), nested() }, { "a1", "a2", "b1", "b2" })
    end)
    case("yield in arguments, constructors, conditions and tail calls", function()
        local out, ok, result, list = drain(function()
            local list = { yield("a"), yield("b"), k = yield("c"), [yield("d")] = 1, yield("e") }
            if yield("f") == 6 and (yield("g") or true) then list.then_ = true end
            return (function(...) return select("#", ...) end)(yield("h"), yield("i")), list
        end)
        t.equal({ table.concat(out), ok, result, list }, { "abcdefghi", true, 2, { 1, 2, 5, k = 3, [4] = 1, then_ = true } })
        local co = wrap(function() return yield(1) end)
        t.equal({ co(), co("tail") }, { 1, "tail" })
        local through = wrap(yield)
        t.values({ 1, 2, n = 2 }, through(1, 2))
        t.values({ 3, n = 1 }, through(3))
    end)
    case("an error ends the coroutine, whoever resumed it goes on", function()
        local co = create(function() yield(1) error({ code = 5 }) end)
        resume(co)
        t.values({ false, { code = 5 }, n = 2 }, resume(co))
        t.equal({ status(co), resume(co) }, { "dead", false, "cannot resume dead coroutine" })
        local outer = create(function()
            local inner = create(function() yield() error("inner", 0) end)
            resume(inner)
            return resume(inner)
        end)
        t.values({ true, false, "inner", n = 3 }, resume(outer))
        local value = {}
        t.values({ false, value, n = 2 }, pcall(wrap(function() return wrap(function() error(value) end)() end)))
        t.raises("through two", wrap(function() return wrap(function() error("through two", 0) end)() end))
    end)
    case("yields where it is not possible raise and can be caught", function()
        for name, fn in pairs({
            sort = function() table.sort({ 3, 2, 1 }, function() yield() end) end,
            gsub = function() ("x"):gsub("x", function() yield() end) end,
            tostring = function() tostring(setmetatable({}, { __tostring = function() yield() return "" end })) end,
        }) do
            local co = create(function() return pcall(fn) end)
            local ok, inner, err = resume(co)
            t.equal({ ok, inner, status(co) }, { true, false, "dead" }, name)
            t.contains(err, "attempt to yield")
        end
    end)
    case("many coroutines, many turns, large stacks", function()
        local list = {}
        for i = 1, 500 do list[i] = wrap(function() local n = i while true do yield(n) n = n + 1 end end) end
        local sum = 0
        for _ = 1, 5 do for i = 1, #list do sum = sum + list[i]() end end
        t.equal(sum, 5 * 125250 + 500 * 10)
        local function down(n) if n == 0 then return yield("bottom") end return (down(n - 1)) end
        local co = wrap(down)
        t.equal({ co(1000), co("back") }, { "bottom", "back" })
        local wide = wrap(function(...) return select("#", yield(select("#", ...))) end)
        local values = {}
        for i = 1, 2000 do values[i] = i end
        t.equal({ wide(table.unpack(values)), wide(table.unpack(values)) }, { 2000, 2000 })
    end)
    case("coroutines are told apart from their functions and work as keys", function()
        local function f() yield(1) end
        local a, b = create(f), create(f)
        local map = { [a] = "a", [b] = "b" }
        resume(a)
        t.equal({ map[a], map[b], status(a), status(b), type(a), tostring(a):match("^thread: ") ~= nil }, { "a", "b", "suspended", "suspended", "thread", true })
    end)
    return done()
end

return { main = main }

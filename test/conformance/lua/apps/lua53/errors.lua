-- Errors (Lua 5.3 manual §2.3 and error, pcall, xpcall, assert of §6.1): what is raised, where it comes from, who catches it.
local t = require("expect")

local function main()
    local case, done = t.cases()

    -- What an error says, without its position.
    local function text_of(fn, ...)
        local ok, err = pcall(fn, ...)
        t.equal(ok, false)
        return (tostring(err):gsub("^[^\n]-:%d+: ", ""))
    end
    -- The line that an error names, counted from the line of `from`.
    local function line_of(err) return tonumber(tostring(err):match(":(%d+): ")) end
    local function here() return line_of(select(2, pcall(error, "", 3))) end

    case("any value can be raised, and arrives as it is", function()
        local value = {}
        for _, raised in ipairs({ value, 5, 1.5, true, false, print, "text" }) do t.values({ false, raised, n = 2 }, pcall(error, raised, 0)) end
        t.values({ false, nil, n = 2 }, pcall(error))
        t.values({ false, nil, n = 2 }, pcall(error, nil))
        t.values({ false, value, n = 2 }, pcall(function() local caught = select(2, pcall(error, value)) error(caught) end))
    end)
    case("pcall gives all results", function()
        t.values({ true, n = 1 }, pcall(function() end))
        t.values({ true, 1, nil, n = 3 }, pcall(function(...) return ... end, 1, nil))
        t.values({ true, true, false, "deep", n = 4 }, pcall(pcall, pcall, error, "deep"))
        t.values({ false, n = 2 }, pcall(error, nil, 5))
    end)
    case("the position: level 1 raises here, 2 at the caller, 0 without", function()
        local function raise(level) error("x", level) end
        local base = here()
        local _, one = pcall(function() raise(1) end)
        local _, two = pcall(function() raise(2) end)
        local _, none = pcall(function() raise(0) end)
        local _, default = pcall(function() error("x") end)
        t.equal({ line_of(one) - base, line_of(two) - base, none, line_of(default) - base }, { -1, 2, "x", 4 })
        t.values({ false, { 1 }, n = 2 }, pcall(error, { 1 }, 2))
        t.equal(select(2, pcall(error, 5, 1)), 5)
    end)
    case("the line of a mistake is the line of its operation", function()
        local base = here()
        local _, call = pcall(function()
            local a = 1

            return a.b.c
        end)
        local _, arithmetic = pcall(function()
            local a
            return 1 +
                a
        end)
        local _, library = pcall(function()
            return string.rep()
        end)
        t.equal(line_of(call) - base, 4)
        t.truthy(line_of(arithmetic) - base == 8 or line_of(arithmetic) - base == 9)
        t.equal(line_of(library) - base, 12)
    end)
    case("messages name the variable", function()
        local upvalue
        t.equal(text_of(function() local x return x.y end), "attempt to index a nil value (local 'x')")
        t.equal(text_of(function() return upvalue.y end), "attempt to index a nil value (upvalue 'upvalue')")
        t.equal(text_of(function() return nothing_here.y end), "attempt to index a nil value (global 'nothing_here')")
        t.equal(text_of(function() local x = {} return x.y.z end), "attempt to index a nil value (field 'y')")
        t.equal(text_of(function() local x = {} x.y.z = 1 end), "attempt to index a nil value (field 'y')")
        t.equal(text_of(function() local x = {} x.y() end), "attempt to call a nil value (field 'y')")
        t.equal(text_of(function() local x = {} x:y() end), "attempt to call a nil value (method 'y')")
        t.equal(text_of(function() local x = 5 x() end), "attempt to call a number value (local 'x')")
        t.equal(text_of(function() nothing_here() end), "attempt to call a nil value (global 'nothing_here')")
        t.equal(text_of(function() return (function() end)().x end), "attempt to index a nil value")
        t.equal(text_of(function() local x = {} return x + 1 end), "attempt to perform arithmetic on a table value (local 'x')")
        t.equal(text_of(function() local x = {} return 1 + x.y end), "attempt to perform arithmetic on a nil value (field 'y')")
        t.equal(text_of(function() return upvalue * 2 end), "attempt to perform arithmetic on a nil value (upvalue 'upvalue')")
        t.equal(text_of(function() return -nothing_here end), "attempt to perform arithmetic on a nil value (global 'nothing_here')")
        t.equal(text_of(function() local x = {} return x .. "a" end), "attempt to concatenate a table value (local 'x')")
        t.equal(text_of(function() local x return #x end), "attempt to get length of a nil value (local 'x')")
        t.equal(text_of(function() local x = {} return x | 1 end), "attempt to perform bitwise operation on a table value (local 'x')")
        t.equal(text_of(function() return "a" + 1 end), "attempt to perform arithmetic on a string value")
    end)
    case("comparisons name both types", function()
        t.equal(text_of(function() return 1 < "2" end), "attempt to compare number with string")
        t.equal(text_of(function() return {} < 1 end), "attempt to compare table with number")
        t.equal(text_of(function() return {} <= {} end), "attempt to compare two table values")
        t.equal(text_of(function() return nil > 1 end), "attempt to compare number with nil")
        t.equal(text_of(function() return print >= true end), "attempt to compare boolean with function")
        t.equal(text_of(function() return nil < nil end), "attempt to compare two nil values")
    end)
    case("bad arguments: number, function, what was expected and what came", function()
        t.equal(text_of(function() string.rep() end), "bad argument #1 to 'rep' (string expected, got no value)")
        t.equal(text_of(function() ("x"):rep({}) end), "bad argument #1 to 'rep' (number expected, got table)")
        t.equal(text_of(function() ("x"):rep("y") end), "bad argument #1 to 'rep' (number expected, got string)")
        t.equal(text_of(function() string.rep("x", 1.5) end), "bad argument #2 to 'rep' (number has no integer representation)")
        t.equal(text_of(function() math.floor(nil) end), "bad argument #1 to 'floor' (number expected, got nil)")
        t.equal(text_of(function() table.insert(1, 2) end), "bad argument #1 to 'insert' (table expected, got number)")
        t.equal(text_of(function() setmetatable({}, 1) end), "bad argument #2 to 'setmetatable' (nil or table expected)")
        t.equal(text_of(function() local my_rep = string.rep my_rep() end), "bad argument #1 to 'my_rep' (string expected, got no value)")
    end)
    case("xpcall: the handler runs where the error is, its result is the result", function()
        t.values({ true, 1, 2, n = 3 }, xpcall(function(...) return ... end, print, 1, 2))
        t.values({ false, "handled x", n = 2 }, xpcall(error, function(e) return "handled " .. e end, "x", 0))
        t.values({ false, nil, n = 2 }, xpcall(error, function() end, "x"))
        t.values({ false, 1, n = 2 }, xpcall(error, function() return 1, 2 end, "x"))
        local inside, seen = false, nil
        xpcall(function() inside = true error("x", 0) end, function() seen = inside end)
        t.equal(seen, true)
        t.values({ false, "inner", n = 2 }, xpcall(function() return error((select(2, pcall(error, "inner", 0))), 0) end, function(e) return e end))
        local outer = {}
        t.values({ false, { "b" }, n = 2 }, xpcall(function()
            xpcall(error, function(e) outer[1] = e end, "a", 0)
            error({ "b" })
        end, function(e) return e end))
        t.equal(outer, { "a" })
    end)
    case("an error inside the handler does not leave xpcall", function()
        local ok, err = xpcall(error, function() error("again") end, "x")
        t.equal(ok, false)
        local depth = 0
        ok = xpcall(error, function(e) depth = depth + 1 if depth < 5 then error(e) end return "end" end, "x")
        t.equal(ok, false)
        t.truthy(depth >= 1)
    end)
    case("errors pass through everything between", function()
        local function deep(n) if n == 0 then error("bottom", 0) end return deep(n - 1) .. "" end
        t.values({ false, "bottom", n = 2 }, pcall(deep, 100))
        t.values({ false, "bottom", n = 2 }, pcall(string.gsub, "x", "x", function() error("bottom", 0) end))
        t.values({ false, "bottom", n = 2 }, pcall(table.sort, { 2, 1 }, function() error("bottom", 0) end))
        t.values({ false, "bottom", n = 2 }, pcall(function() return setmetatable({}, { __index = function() error("bottom", 0) end }).x end))
        t.values({ false, "bottom", n = 2 }, pcall(function() return tostring(setmetatable({}, { __tostring = function() error("bottom", 0) end })) end))
        t.values({ false, "bottom", n = 2 }, pcall(function() for _ in function() error("bottom", 0) end do end end))
        t.values({ false, "bottom", n = 2 }, pcall(coroutine.wrap(function() error("bottom", 0) end)))
    end)
    case("what was done before an error stays done", function()
        local log = {}
        local function try(fn)
            local ok = pcall(fn)
            log[#log + 1] = ok
        end
        try(function() log[#log + 1] = "a" error("x") end)
        for i = 1, 2 do
            try(function() log[#log + 1] = i if i == 1 then error("x") end end)
        end
        t.equal(log, { "a", false, 1, false, 2, true })
        local list = { 1, 2 }
        pcall(function() list[1], list[nil] = 5, 6 end)
        t.equal(list[2], 2)
    end)
    case("a thousand errors leave nothing behind", function()
        local count = 0
        for i = 1, 1000 do
            local ok = pcall(function() local a, b, c = i, i, i error(a + b + c) end)
            if not ok then count = count + 1 end
        end
        t.equal(count, 1000)
        local function nested(n) if n == 0 then error("x", 0) end local ok, err = pcall(nested, n - 1) error(err, 0) end
        t.values({ false, "x", n = 2 }, pcall(nested, 50))
    end)
    case("recursion without end is an error that pcall catches", function()
        local function sum() return 1 + sum() end
        local indexed = {}
        setmetatable(indexed, { __index = function(self, k) return self[k .. "x"] .. "" end })
        local called = {}
        setmetatable(called, { __call = function(self) return self() + 1 end })
        local added = {}
        setmetatable(added, { __add = function(a, b) return (a + b) .. "" end })
        local shown = {}
        setmetatable(shown, { __tostring = function(self) return tostring(self) .. "" end })
        for name, fn in pairs({ sum = sum, indexed = function() return indexed.x end, called = function() return called() end,
            added = function() return added + 1 end, shown = function() return tostring(shown) end,
            gsub = function() local function f() return (("x"):gsub("x", f)) end return f() end,
            sort = function() local function f() table.sort({ 3, 2, 1 }, function(a, b) f() return a < b end) end f() end }) do
            local ok, err = pcall(fn)
            t.equal(ok, false, name)
            t.contains(err, "overflow")
        end
        local function caught() return (pcall(caught)) end
        t.equal(pcall(caught), true)
        -- Afterwards the process goes on as before.
        local function depth(n) if n == 0 then return 0 end return 1 + depth(n - 1) end
        t.equal(depth(1000), 1000)
    end)
    case("a coroutine that recurses without end dies alone", function()
        local function sum() return 1 + sum() end
        local co = coroutine.create(sum)
        local ok, err = coroutine.resume(co)
        t.equal({ ok, coroutine.status(co) }, { false, "dead" })
        t.contains(err, "stack overflow")
        local function chain() return coroutine.wrap(chain)() end
        t.equal((pcall(chain)), false)
    end)
    case("results and strings have limits that raise", function()
        t.raises("too many results to unpack", table.unpack, {}, 1, 1e8)
        t.raises("too large", string.rep, "xy", math.maxinteger)
    end)
    return done()
end

return { main = main }

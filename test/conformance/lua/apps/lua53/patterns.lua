-- Patterns (Lua 5.3 manual §6.4.1) in find, match, gmatch and gsub.
local t = require("expect")

local function main()
    local case, done = t.cases()

    local function first(s, pattern)
        local from, to = s:find(pattern)
        return from and s:sub(from, to)
    end

    case("positions", function()
        t.values({ 1, 0, n = 2 }, (""):find(""))
        t.values({ 1, 0, n = 2 }, ("alo"):find(""))
        t.values({ 4, 3, n = 2 }, ("alo"):find("", 4))
        t.values({ nil, n = 1 }, ("alo"):find("", 5))
        t.values({ 5, 7, n = 2 }, ("a\0o a\0o a\0o"):find("a\0o", 2))
        t.values({ 9, 11, n = 2 }, ("a\0o a\0o a\0o"):find("a\0o", 9))
        t.values({ 11, 11, n = 2 }, ("a\0a\0a\0a\0\0ab"):find("b"))
        t.values({ nil, n = 1 }, ("a\0a\0a\0a\0\0ab"):find("b\0"))
        t.values({ 13, 15, n = 2 }, ("1234567890123456789"):find("345", 4))
        t.values({ 13, 15, n = 2 }, ("1234567890123456789"):find(".45", -9))
        t.values({ 1, 1, n = 2 }, ("abc"):find("a", -100))
        t.values({ nil, n = 1 }, (""):find("", 2))
    end)
    case("plain search", function()
        t.values({ 4, 6, n = 2 }, ("alo(.)alo"):find("(.)", 1, true))
        t.values({ 2, 1, n = 2 }, ("abc"):find("", 2, true))
        t.values({ nil, n = 1 }, ("abcdefg"):find("\0", 5, true))
        t.values({ 2, 4, n = 2 }, ("a%d+"):find("%d+", 1, true))
    end)
    case("anchors", function()
        t.equal({ ("alo"):find("^al"), ("alo"):find("^lo") }, { 1, nil })
        t.equal({ ("xalo"):match("^al", 2), ("alo"):match("lo$"), ("alo$"):match("o$$"), ("a^b"):match("a^b"), ("a$b"):match("a$b") },
            { "al", "lo", "o$", "a^b", "a$b" })
        t.equal({ ("alo"):match("^$"), (""):match("^$") }, { nil, "" })
    end)
    case("repetition", function()
        t.equal({ first("aaab", ".*b"), first("aaa", ".*a"), first("b", ".*b"), first("aaab", ".+b"), first("b", ".+b") },
            { "aaab", "aaa", "b", "aaab" })
        t.equal({ first("aaab", ".?b"), first("b", ".?b"), first("aXb", "a.-b"), first("a$a", ".-a$"), first("aaa", "^.-$") },
            { "ab", "b", "aXb", "a$a", "aaa" })
        t.equal({ first("aaa", "^(a-)b?$"), first("aab", "a-b"), first("aaa", "a-"), first("", "a?b?c?") }, { "aaa", "aab", "", "" })
    end)
    case("classes", function()
        local count = { a = 52, c = 33, d = 10, g = 94, l = 26, p = 32, s = 6, u = 26, w = 62, x = 22 }
        for class, wanted in pairs(count) do
            local found, others = 0, 0
            for byte = 0, 255 do
                if string.char(byte):find("%" .. class) then found = found + 1 end
                if string.char(byte):find("%" .. class:upper()) then others = others + 1 end
            end
            t.equal({ found, others }, { wanted, 256 - wanted }, "%" .. class)
        end
        t.equal({ first("  \n\r*&\n\r   xuxu  \n\n", "%g%g%g+"), first("aloALO", "%l*"), first("aLo_ALO", "%a*") }, { "xuxu", "alo", "aLo" })
    end)
    case("sets", function()
        t.equal({ first("0123456789", "[3-6]+"), first("abc-9", "[%a-]+"), first("a]b", "[]]"), first("a^b", "[b^]"), first("xyz", "[^x]") },
            { "3456", "abc-", "]", "^", "y" })
        t.equal({ first("a-b", "[a-]+"), first("a%b", "[%%]"), first("]x", "[^]]"), first("az", "[a-c-]"), first("\0\1\2", "[\1-\3]+") },
            { "a-", "%", "x", "a", "\1\2" })
        t.equal(first("x=1", "[%w_]+=%d"), "x=1")
        t.equal(first("abc", "[b-a]"), nil)
    end)
    case("captures", function()
        t.values({ "key", "value", n = 2 }, ("key = value"):match("^(%w+)%s*=%s*(%w+)$"))
        t.values({ 1, 3, "b", 3, 4, n = 5 }, ("abcd"):find("a(b)()c()"))
        t.values({ "", n = 1 }, ("x"):match("(y?)x"))
        t.values({ 1, 4, n = 2 }, ("abc"):match("()%a+()"))
        t.values({ "abc", "b", "", n = 3 }, ("abc"):match("(a(b)c)(d*)"))
        t.values({ '"', "it's", n = 2 }, ([[say "it's" now]]):match([[(["'])(.-)%1]]))
        t.values({ "=", "x]y", n = 2 }, ("[=[x]y]=]"):match("%[(=*)%[(.-)%]%1%]"))
        t.values({ nil, n = 1 }, ("abc"):match("(x)"))
    end)
    case("balance and frontier", function()
        t.equal({ first("x(a(b)c)d)", "%b()"), first("((x)", "%b()"), first("''", "%b''"), first("(", "%b()") }, { "(a(b)c)", "(x)", "''" })
        t.equal({ (("aaa aa a aaa a"):gsub("%f[%w]%a", "x")) }, { "xaa xa x xaa x" })
        t.equal({ (("[[]] [][] [[[["):gsub("%f[[].", "x")) }, { "x[]] x]x] x[[[" })
        t.equal({ (("01abc45de3"):gsub("%f[%d]", ".")), (("01abc45 de3x"):gsub("%f[%D]%w", ".")) }, { ".01abc.45de.3", "01.bc45 de3." })
        t.equal({ ("a"):find("%f[a]"), ("a"):find("%f[%z]"), ("aba"):find("%f[a%z]"), ("aba"):find("%f[%l%z]"), (" alo aalo allo"):find("%f[%S].-%f[%s].-%f[%S]") },
            { 1, 2, 3, nil, 2, 5 })
    end)
    case("gmatch", function()
        local function all(s, pattern)
            local out = {}
            for a, b in s:gmatch(pattern) do out[#out + 1] = b == nil and a or a .. ":" .. b end
            return table.concat(out, ",")
        end
        t.equal({ all("xuxx uu ppar r", "()(.)%2"), all("a=1, b=2", "(%w)=(%w)"), all("first second", "%w+"), all("abc", "") , all("", "x*") },
            { "3:x,6:u,9:p", "a:1,b:2", "first,second", ",,,", "" })
        local next_number = ("1 2 3 4"):gmatch("%d")
        t.equal(next_number(), "1")
        t.equal({ coroutine.wrap(next_number)(), next_number() }, { "2", "3" })
        t.equal(all("13 14 10 = 11, 15= 16, 22=23", "(%d+)%s*=%s*(%d+)"), "10:11,15:16,22:23")
    end)
    case("gsub with a string", function()
        t.values({ "x-x-x", 2, n = 2 }, ("x x x"):gsub(" ", "-"))
        t.values({ "x-x x", 1, n = 2 }, ("x x x"):gsub(" ", "-", 1))
        t.values({ "x x x", 0, n = 2 }, ("x x x"):gsub(" ", "-", 0))
        t.values({ "x x x", 0, n = 2 }, ("x x x"):gsub(" ", "-", -1))
        t.values({ "-a-b-", 3, n = 2 }, ("ab"):gsub("", "-"))
        t.values({ "world hello", 1, n = 2 }, ("hello world"):gsub("(%w+) (%w+)", "%2 %1"))
        t.values({ "hello hello!", 1, n = 2 }, ("hello"):gsub("%w+", "%0 %0!"))
        t.values({ "100%", 1, n = 2 }, ("x"):gsub("x", "100%%"))
        t.values({ "1a3b", 2, n = 2 }, ("ab"):gsub("()(%a)", function(p, c) return (p * 2 - 1) .. c end))
        t.equal((("  trim me "):gsub("^%s*(.-)%s*$", "%1")), "trim me")
        t.equal((("abc"):gsub("%w", "%%%0")), "%a%b%c")
        t.equal((("alo alo"):gsub("^%a", "x")), "xlo alo")
        t.equal((("x"):gsub("x", 5)), "5")
    end)
    case("gsub with a function or a table", function()
        t.values({ "A b", 2, n = 2 }, ("a b"):gsub("%a", function(c) if c == "a" then return "A" end end))
        t.values({ "a b", 2, n = 2 }, ("a b"):gsub("%a", function() return false end))
        t.values({ "1 2", 2, n = 2 }, ("$x $y"):gsub("%$(%w)", { x = 1, y = "2" }))
        t.values({ "$z", 1, n = 2 }, ("$z"):gsub("%$(%w)", { x = 1 }))
        t.values({ "<a> <b>", 2, n = 2 }, ("a b"):gsub("%a", setmetatable({}, { __index = function(_, k) return "<" .. k .. ">" end })))
        t.equal((("hello"):gsub("()l", function(p) return p end)), "he34o")
        local function nested(s) return (s:gsub("%((.-)%)", function(x) return x:upper():gsub("B", "bb") end)) end
        t.equal(nested("x(ab)y(b)"), "xAbbybb")
        t.raises("invalid replacement value (a table)", string.gsub, "a", "a", function() return {} end)
        t.raises("from the callback", string.gsub, "a", "a", function() error("from the callback") end)
        t.raises("string/function/table expected", string.gsub, "a", "a", nil)
    end)
    case("mistakes in patterns", function()
        for pattern, text in pairs({ ["["] = "malformed pattern (missing ']')", ["[]"] = "malformed pattern (missing ']')",
            ["[^]"] = "malformed pattern (missing ']')", ["[a%"] = "malformed pattern", ["[a%]"] = "malformed pattern (missing ']')",
            ["%"] = "malformed pattern (ends with '%')", ["%b"] = "missing arguments to '%b'", ["%bx"] = "missing arguments to '%b'",
            ["%f"] = "missing '[' after '%f' in pattern", ["("] = "unfinished capture", ["(a"] = "unfinished capture",
            [")"] = "invalid pattern capture", ["a)"] = "invalid pattern capture", ["%1"] = "invalid capture index", ["(a)%2"] = "invalid capture index",
            ["(%1)"] = "invalid capture index" }) do
            t.raises(text, string.match, "aaa", pattern)
        end
        t.raises("invalid capture index %2", string.gsub, "alo", ".", "%2")
        t.raises("invalid use of '%' in replacement string", string.gsub, "alo", ".", "%a")
        t.raises("too many captures", string.find, "a", ("()"):rep(33))
        t.equal(select("#", ("a"):find(("()"):rep(32))), 34)
        t.raises("pattern too complex", string.match, ("a"):rep(1000), ("a?"):rep(1000) .. "b")
    end)
    case("long subjects", function()
        local long = ("a"):rep(100000)
        t.equal({ #long:match(".*"), #long:match(".-$"), #(long:gsub("a", "bb")), long:find("b") }, { 100000, 100000, 200000 })
        t.equal({ (long .. "b"):find(".-b") }, { 1, 100001 })
        t.equal(#long:rep(2):match("^(a+)a$"), 199999)
    end)
    return done()
end

return { main = main }

-- Strings and what makes them (Lua 5.3 manual §3.1, §3.4.6, §6.4), apart from patterns.
local t = require("expect")

local function main()
    local case, done = t.cases()

    case("order is by bytes, zeros included", function()
        local ordered = { "", "\0", "\0\0", "\0\0\1", "\0\1", "\1", "\1\0", "A", "B", "a", "a\0", "a\0b", "a\1", "aa", "b", "\x7f", "\x80", "\xff", "\xff\0" }
        for i = 1, #ordered do
            for j = 1, #ordered do
                local a, b = ordered[i], ordered[j]
                t.equal({ a < b, a <= b, a > b, a >= b, a == b }, { i < j, i <= j, i > j, i >= j, i == j }, i .. "," .. j)
            end
        end
    end)
    case("escapes in literals", function()
        t.equal("\a\b\f\n\r\t\v\\\"\'", "\7\8\12\10\13\9\11\92\34\39")
        t.equal({ "\x41\x7a", "\065\10\0", "\0650" }, { "Az", "A\n\0", "A0" })
        t.equal("one\z
                 two\z   three", "onetwothree")
        t.equal({ "\u{0}", "\u{7F}", "\u{80}", "\u{7FF}", "\u{800}", "\u{FFFF}", "\u{10000}", "\u{10FFFF}", "\u{0000041}" },
            { "\0", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "A" })
        t.equal("line\
break", "line\nbreak")
    end)
    case("long brackets", function()
        t.equal([[
first newline is dropped]], "first newline is dropped")
        t.equal([==[ ]] ]=] \n ]==], " ]] ]=] \\n ")
        t.equal(#[[

x]], 2)
        --[==[ a comment ]] of
        several lines ]==] t.equal([=[]]]=], "]]")
    end)
    case("string.sub", function()
        local s = "123456789"
        for _, row in ipairs({ { 2, 4, "234" }, { 7, nil, "789" }, { 7, 6, "" }, { 7, 7, "7" }, { 0, 0, "" }, { -10, 10, s }, { 1, 9, s },
            { -10, -20, "" }, { -1, nil, "9" }, { -4, nil, "6789" }, { -6, -4, "456" }, { 10, nil, "" }, { 3.0, 4.0, "34" }, { "3", "4", "34" },
            { math.mininteger, -4, "123456" }, { math.mininteger, math.maxinteger, s }, { math.maxinteger, math.mininteger, "" } }) do
            t.equal(s:sub(row[1], row[2]), row[3], row[1] .. ".." .. tostring(row[2]))
        end
        t.equal(("\0" .. s):sub(3, 5), "234")
        t.raises("number expected", string.sub, s)
        t.raises("number has no integer representation", string.sub, s, 1.5)
    end)
    case("string.byte and string.char", function()
        t.values({ 97, n = 1 }, string.byte("a"))
        t.values({ 0, 255, 10, n = 3 }, ("\0\255\n"):byte(1, -1))
        t.values({ n = 0 }, string.byte(""))
        t.values({ n = 0 }, string.byte("hi", -3))
        t.values({ n = 0 }, string.byte("hi", 3))
        t.values({ n = 0 }, string.byte("hi", 2, 1))
        t.values({ 104, 105, n = 2 }, string.byte("hi", -10, 100))
        t.equal({ string.char(), string.char(0, 255, 65), string.char(("\xe4l\0o"):byte(1, -1)) }, { "", "\0\255A", "\xe4l\0o" })
        t.raises("value out of range", string.char, 256)
        t.raises("value out of range", string.char, -1)
        t.raises("number expected", string.char, "x")
    end)
    case("string.rep", function()
        t.equal({ ("ab"):rep(0), ("ab"):rep(-1), ("ab"):rep(3), ("\0x"):rep(2), (""):rep(10) }, { "", "", "ababab", "\0x\0x", "" })
        t.equal({ ("x"):rep(0, ","), ("x"):rep(1, ","), ("x"):rep(3, ", "), (""):rep(3, ".") }, { "", "x", "x, x, x", ".." })
        t.raises("too large", string.rep, "aa", 1 << 30)
        t.raises("too large", string.rep, "a", 1 << 30, ",")
        t.raises("number expected", string.rep, "a")
    end)
    case("reverse, upper, lower, len", function()
        t.equal({ (""):reverse(), ("\0\1\2"):reverse(), ("abc"):reverse() }, { "", "\2\1\0", "cba" })
        t.equal({ ("ab\0c1\xe4"):upper(), ("\0AB%Z\xc4"):lower() }, { "AB\0C1\xe4", "\0ab%z\xc4" })
        t.equal({ #"", #"\0\0", ("abc"):len(), string.len(12) }, { 0, 2, 3, 2 })
    end)
    case("concatenation", function()
        t.equal({ "a" .. 1 .. 2, 1 .. "", -1 .. "", 0.5 .. "|" .. -0.5 }, { "a12", "1", "-1", "0.5|-0.5" })
        local parts = ""
        for i = 1, 100 do parts = parts .. i % 10 end
        t.equal(#parts, 100)
        local a, b = "x", "\0"
        t.equal(a .. b .. a .. b, "x\0x\0")
        t.raises("attempt to concatenate a nil value", function() return a .. nil end)
        t.raises("attempt to concatenate a boolean value", function() return true .. a end)
    end)
    case("numbers where strings are expected, and the reverse", function()
        t.equal({ string.rep(5, 2), string.len(-12), ("10"):rep("2") }, { "55", 3, "1010" })
        t.equal({ "10" + 1, "0x10" * 1, " 5 " - 1, "1e1" / 1, "7" // 2, "7" % 4, "2" ^ 2, -"2" }, { 11, 16, 4, 10, 3, 3, 4, -2 })
        t.raises("attempt to perform arithmetic on a string value", function() return "a" + 1 end)
        t.raises("attempt to compare", function() return 1 < "2" end)
        t.truthy("10" ~= 10)
    end)
    case("tostring", function()
        t.equal({ tostring(nil), tostring(true), tostring(false), tostring(-1203), tostring(1203.125), tostring(-0.5), tostring("\0") },
            { "nil", "true", "false", "-1203", "1203.125", "-0.5", "\0" })
        t.truthy(tostring({}):find("^table: "))
        t.truthy(tostring(print):find("^function: "))
        t.truthy(tostring(coroutine.create(print)):find("^thread: "))
        local meta = { __name = "My.Type" }
        local object = setmetatable({}, meta)
        t.truthy(tostring(object):find("^My.Type: "))
        meta.__tostring = function(self) return self == object and "shown" end
        t.equal({ tostring(object), ("%s|%.2s"):format(object, object) }, { "shown", "shown|sh" })
        meta.__tostring = function() return {} end
        t.raises("'__tostring' must return a string", tostring, object)
        t.raises("value expected", tostring)
    end)
    case("string.format: %s and %q", function()
        t.equal(("%s\0|%5s|%-5s|%.2s|%%"):format("a\0b", "x", "y", "long"), "a\0b\0|    x|y    |lo|%")
        t.equal(("%s %s %s"):format(nil, true, 1.5), "nil true 1.5")
        t.equal(#("%99s"):format("x"), 99)
        t.equal(("-%.20s."):format(("%"):rep(2000)), "-" .. ("%"):rep(20) .. ".")
        t.equal(("%q"):format('a "quoted" \\ \n line\0\r1\0002'), '"a \\"quoted\\" \\\\ \\\n line\\0\\0131\\0002"')
        t.equal(("%q %q %q %q"):format(nil, true, 12, "x"), 'nil true 12 "x"')
        t.equal(("%q"):format(0.5), "0x1p-1")
        t.raises("no literal", string.format, "%q", {})
    end)
    case("string.format: mistakes", function()
        t.raises("invalid option", string.format, "%t", 10)
        t.raises("invalid", string.format, "%", 10)
        t.raises("no value", string.format, "%d %d", 10)
        t.raises("too long", string.format, "%1.100d", 10)
        t.raises("too long", string.format, "%100.3d", 10)
        t.raises("repeated flags", string.format, "%0000000d", 10)
        t.raises("number expected, got string", string.format, "%d", "ten")
        t.raises("string expected", string.format)
    end)
    case("table.concat", function()
        local list = { "a", "b", "c" }
        t.equal({ table.concat({}), table.concat({}, "x"), table.concat(list), table.concat(list, ", ") }, { "", "", "abc", "a, b, c" })
        t.equal({ table.concat(list, ",", 2), table.concat(list, ",", 2, 2), table.concat(list, ",", 1, 0), table.concat(list, ",", 4) },
            { "b,c", "b", "", "" })
        t.equal(table.concat({ "\0", "\0\1" }, ".\0."), "\0.\0.\0\1")
        t.equal(table.concat({ 1, 2.5, "x" }, 0), "102.50x")
        t.equal(table.concat({ [math.maxinteger] = "y" }, "x", math.maxinteger, math.maxinteger), "y")
        t.equal(table.concat({}, "x", math.maxinteger, math.mininteger), "")
        t.equal(table.concat({ [5] = "v" }, "", 5, 5), "v")
        t.equal(table.concat(setmetatable({}, { __index = function(_, i) return "i" .. i end, __len = function() return 3 end }), " "), "i1 i2 i3")
        t.raises("invalid value (table) at index 2 in table for 'concat'", table.concat, { "a", {}, "b" })
        t.raises("invalid value (nil) at index 1", table.concat, {}, "", 1, 1)
        t.raises("table expected", table.concat, 3)
    end)
    case("string.pack and string.unpack", function()
        t.equal(("<i2"):pack(-2), "\xfe\xff")
        t.equal((">I4"):pack(0x01020304), "\1\2\3\4")
        t.equal(("<I3>I3"):pack(0x010203, 0x010203), "\3\2\1\1\2\3")
        t.equal({ ("z"):pack("abc"), ("s1"):pack("abc"), ("c5"):pack("abc") }, { "abc\0", "\3abc", "abc\0\0" })
        t.equal((">d"):pack(-2.5), "\xc0\4\0\0\0\0\0\0")
        t.equal((">!4 i1 i4"):pack(1, 2), "\1\0\0\0\0\0\0\2")
        t.values({ -2, 65534, 5, n = 3 }, ("<i2I2"):unpack("\xfe\xff\xfe\xff"))
        t.values({ "abc", "de", 8, n = 3 }, ("zs1"):unpack("abc\0\2de"))
        t.values({ 2.5, 9, n = 2 }, ("<d"):unpack(("<d"):pack(2.5)))
        t.values({ 0.5, 5, n = 2 }, ("<f"):unpack(("<f"):pack(0.5)))
        t.values({ 7, 3, n = 2 }, ("B"):unpack("\1\7", 2))
        t.values({ 7, 3, n = 2 }, ("B"):unpack("\1\7", -1))
        t.equal({ ("<i4i8"):packsize(), ("!8 i1 i8"):packsize(), ("c10"):packsize(), (">I2 x"):packsize() }, { 12, 16, 10, 3 })
        for size = 1, 16 do
            local format = "<i" .. size
            t.equal(format:unpack(format:pack(-100)), -100, format)
            t.equal(#format:pack(1), size)
        end
        t.raises("data string too short", string.unpack, "<i4", "\1\2\3")
        t.raises("invalid format option", string.pack, "y", 1)
        t.raises("out of limits", string.pack, "i17", 1)
        t.raises("overflow", string.pack, "<i1", 128)
        t.raises("overflow", string.pack, "<I1", 256)
        t.raises("contains zeros", string.pack, "z", "a\0b")
        t.raises("longer than given size", string.pack, "c2", "abc")
        t.raises("variable-length format", string.packsize, "s")
        t.raises("initial position out of string", string.unpack, "b", "abc", 5)
        t.raises("does not fit", string.unpack, "<i16", ("\xff"):rep(8) .. ("\1"):rep(8))
    end)
    case("methods of strings", function()
        t.equal({ ("x"):rep(2), #("abc"):upper(), ("a,b"):find(",") }, { "xx", 3, 2, 2 })
        t.equal(("x").nothing, nil)
        t.raises("attempt to call a nil value (method 'nothing')", function() return ("x"):nothing() end)
        t.raises("attempt to index a string value", function() local s = "x" s.field = 1 end)
    end)
    return done()
end

return { main = main }

local fs = require("fs")
local t = require("expect")

local function main()
    local case, done = t.cases()
    local volume = assert(fs.get("fs:data"))

    local function tokens(data, split)
        assert(volume:writefile("scanned", data))
        local file = assert(volume:open("scanned", "r"))
        local scanner, err = t.count(2, file:scanner(split))
        t.equal(err, nil)
        local list = {}
        while t.count(1, scanner:scan()) do list[#list + 1] = scanner:text() end
        t.values({ false, n = 1 }, scanner:scan())
        t.equal(scanner:text(), "")
        file:close()
        return list, (t.count(1, scanner:err()))
    end

    case("lines, without their ends", function()
        t.values({ { "one", "", "two", "three" }, nil, n = 2 }, tokens("one\n\r\ntwo\r\nthree"))
        t.values({ { "one", "" }, nil, n = 2 }, tokens("one\n\n", "lines"))
        t.values({ {}, nil, n = 2 }, tokens("", "lines"))
    end)
    case("words", function() t.equal((tokens("  a\tbc \n\n d ", "words")), { "a", "bc", "d" }) end)
    case("bytes", function() t.equal((tokens("a\0\195", "bytes")), { "a", "\0", "\195" }) end)
    case("runes", function() t.equal((tokens("a\195\188\255", "runes")), { "a", "\195\188", "\239\191\189" }) end)
    case("more lines than one read brings", function()
        local lines = {}
        for i = 1, 20000 do lines[i] = "line " .. i end
        local found = tokens(table.concat(lines, "\n"))
        t.equal(#found, 20000)
        t.equal(found[20000], "line 20000")
    end)
    case("a token above 64 KiB ends the scan", function()
        local list, err = tokens("one\n" .. string.rep("x", 65536) .. "\n" .. string.rep("x", 65537) .. "\nthree")
        t.equal(#list, 2)
        t.error(err, "Internal", "token too long")
    end)
    case("splits that there are not", function()
        local file = assert(volume:open("scanned", "r"))
        t.fails("Invalid", "invalid split type", file:scanner("letters"))
        t.fails("Invalid", "invalid split type", file:scanner(""))
        t.raises("string expected", file.scanner, file, {})
        file:close()
    end)
    case("what cannot be read cannot be scanned", function()
        local file = assert(volume:open("scanned", "w"))
        local scanner = file:scanner()
        t.values({ false, n = 1 }, scanner:scan())
        t.contains(scanner:err(), "not readable")
        file:close()
    end)
    return done()
end

return { main = main }

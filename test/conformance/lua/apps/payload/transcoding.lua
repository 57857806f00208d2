local json = require("json")
local t = require("expect")

local F = payload.format

-- The payload of `value`, or one that holds the text `value` and says it is in `format`.
local function through(value, format)
    local p, err = t.count(2, payload.new(value):transcode(format))
    t.equal(err, nil)
    t.equal(p:get_format(), format)
    return p
end

local function main()
    local case, done = t.cases()

    case("data comes back from JSON, YAML and MSGPACK", function()
        local value = { name = "pear", count = 3, price = 2.5, fresh = true, tags = { "a", "b" }, deep = { { x = 1 }, { x = 2 } } }
        for _, format in ipairs({ F.JSON, F.YAML, F.MSGPACK, F.LUA, F.GOLANG }) do
            local p = through(value, format)
            t.values({ value, n = 1 }, p:data())
            t.values({ value, n = 1 }, p:unmarshal())
            local back, err = t.count(2, p:transcode(F.LUA))
            t.equal(err, nil)
            t.equal(back:get_format(), F.LUA)
            t.equal(back:data(), value)
        end
    end)
    case("scalars have every one of these forms", function()
        for _, format in ipairs({ F.JSON, F.YAML, F.MSGPACK }) do
            for _, value in ipairs({ "text", "", "12", "true", "null", "~", 7, -1, 2.5, true, false, "größer\n2" }) do
                t.values({ value, n = 1 }, through(value, format):data())
            end
            t.values({ nil, n = 1 }, through(nil, format):data())
        end
    end)
    case("large whole numbers keep their value, integers stay integers", function()
        for _, format in ipairs({ F.JSON, F.YAML, F.MSGPACK }) do
            for _, value in ipairs({ 2 ^ 31, -2 ^ 40, 2 ^ 53, math.maxinteger, math.mininteger }) do
                t.equal(through(value, format):data(), value, format)
            end
            t.equal(math.type(through(math.maxinteger, format):data()), "integer", format)
        end
    end)
    case("from one encoded form to another", function()
        local value = { list = { 1, 2, 3 }, text = "x" }
        local forms = { F.JSON, F.YAML, F.MSGPACK }
        for _, from in ipairs(forms) do
            for _, to in ipairs(forms) do
                local p, err = t.count(2, through(value, from):transcode(to))
                t.equal(err, nil)
                t.equal(p:get_format(), to)
                t.equal(p:data(), value, from .. " to " .. to)
            end
        end
    end)
    case("the payload itself does not change", function()
        local p = payload.new({ 1 })
        local q = assert(p:transcode(F.JSON))
        t.equal(rawequal(p, q), false)
        t.equal(p:get_format(), F.LUA)
        t.equal(p:data(), { 1 })
    end)
    case("strings are STRING and BYTES, and come back from them", function()
        for _, value in ipairs({ "", "text", "a\0b\255\254" }) do
            for _, format in ipairs({ F.STRING, F.BYTES }) do
                local p = through(value, format)
                t.values({ value, n = 1 }, p:data())
                t.values({ value, n = 1 }, p:unmarshal())
                t.equal(through(value, F.LUA):transcode(format):data(), value)
                t.equal(p:transcode(F.LUA):data(), value)
                t.equal(p:transcode(F.BYTES):data(), value)
            end
        end
    end)
    case("bytes that are no text survive MSGPACK, and have no JSON", function()
        t.equal(through("a\255\254", F.MSGPACK):data(), "a\255\254")
        t.equal(payload.new("\255"):transcode(F.MSGPACK):data(), "\255")
    end)
    case("a table has no STRING or BYTES", function()
        for _, format in ipairs({ F.STRING, F.BYTES }) do
            for _, value in ipairs({ {}, { 1 }, { a = 1 }, true }) do
                t.fails("Internal", "cannot transcode lua/any to " .. format, payload.new(value):transcode(format))
            end
        end
    end)
    case("only an error object is an ERROR", function()
        local err = errors.new{ message = "no", kind = errors.CONFLICT }
        local p = through(err, F.ERROR)
        t.error(p:data(), "Conflict", "no")
        t.error(payload.new(err):transcode(F.LUA):data(), "Conflict", "no")
        t.fails("Internal", "cannot transcode", payload.new("text"):transcode(F.ERROR))
    end)
    case("an unknown format", function()
        local err = t.fails("Internal", 'unknown format "no/format"', payload.new(1):transcode("no/format"))
        t.contains(err, "cannot transcode lua/any")
        t.fails("Internal", "unknown format", payload.new(1):transcode(""))
        t.fails("Internal", "unknown format", payload.new(1):transcode("JSON"))
    end)
    case("a format that is no string raises", function()
        local p = payload.new(1)
        t.raises("bad argument #2 to 'transcode' (string expected, got no value)", function() p:transcode() end)
        t.raises("bad argument #2 to 'transcode' (string expected, got nil)", function() p:transcode(nil) end)
        t.raises("bad argument #2 to 'transcode' (string expected, got table)", function() p:transcode({}) end)
    end)
    case("what has no encoded form is an error", function()
        local loop = {}
        loop.loop = loop
        for _, format in ipairs({ F.JSON, F.YAML, F.MSGPACK }) do
            t.fails("Internal", "cannot transcode lua/any to " .. format, payload.new(loop):transcode(format))
        end
        t.fails("Internal", "sparse array", payload.new({ [1] = "a", [5] = "b" }):transcode(F.JSON))
        t.fails("Internal", "mixed-key table", payload.new({ "a", b = 1 }):transcode(F.JSON))
    end)
    case("what is no number in JSON is null", function()
        t.values({ nil, n = 1 }, through(0 / 0, F.JSON):data())
        t.values({ nil, n = 1 }, through(math.huge, F.JSON):data())
    end)
    case("the array rule of JSON", function()
        local function shape(value) return through(value, F.JSON):transcode(F.LUA):data() end
        t.equal(shape({ 1, 2 }), { 1, 2 })
        t.equal(json.encode(shape({})), "[]")
        t.equal(json.encode(shape({ a = 1 })), '{"a":1}')
        local empty = json.decode("{}")
        for _, format in ipairs({ F.JSON, F.YAML, F.MSGPACK }) do
            t.equal(json.encode(through(empty, format):data()), "{}", format)
            t.equal(json.encode(through({ e = empty, l = {} }, format):data().e), "{}", format)
            t.equal(json.encode(through({ e = empty, l = {} }, format):data().l), "[]", format)
        end
        t.equal(json.encode(payload.new(empty):data()), "{}")
    end)
    return done()
end

return { main = main }

local t = require("expect")

local function main()
    local case, done = t.cases()

    case("payload is always there", function()
        t.equal(type(payload), "table")
        t.truthy(require("payload") == payload)
        t.raises("", function() payload.extra = 1 end)
        t.raises("", function() payload.format.JSON = "x" end)
    end)
    case("formats are constants", function()
        local wanted = {
            JSON = "json/plain",
            YAML = "yaml/plain",
            STRING = "text/plain",
            BYTES = "application/octet-stream",
            MSGPACK = "application/msgpack",
            LUA = "lua/any",
            GOLANG = "golang/any",
            ERROR = "golang/error",
        }
        for name, value in pairs(wanted) do t.equal(payload.format[name], value, name) end
        local count = 0
        for _ in pairs(payload.format) do count = count + 1 end
        t.equal(count, 8)
    end)
    case("new wraps any value", function()
        for _, value in ipairs({ "text", 7, 2.5, true, false, { 1, { a = "b" } } }) do
            local p = t.count(1, payload.new(value))
            t.equal(type(p), "userdata")
            t.values({ payload.format.LUA, n = 1 }, p:get_format())
            t.values({ value, n = 1 }, p:data())
            t.values({ value, n = 1 }, p:unmarshal())
        end
    end)
    case("new wraps nil, given or not", function()
        t.values({ nil, n = 1 }, payload.new(nil):data())
        t.values({ nil, n = 1 }, payload.new():data())
        t.equal(payload.new():get_format(), payload.format.LUA)
    end)
    case("an error object has the format ERROR", function()
        local err = errors.new{ message = "sold out", kind = errors.CONFLICT, retryable = true, details = { sku = "A1" } }
        local p = payload.new(err)
        t.equal(p:get_format(), payload.format.ERROR)
        for _, method in ipairs({ "data", "unmarshal" }) do
            local back = t.count(1, p[method](p))
            t.error(back, "Conflict", "sold out")
            t.equal(back:retryable(), true)
            t.equal(back:details(), { sku = "A1" })
        end
    end)
    case("an error object without a kind keeps it that way", function()
        t.equal(payload.new(errors.new("plain")):data():kind(), "")
    end)
    case("the value is a copy, on its way in and on its way out", function()
        local list = { items = { 1, 2 } }
        local p = payload.new(list)
        list.items[3] = 3
        t.equal(p:data(), { items = { 1, 2 } })
        p:data().items[1] = "changed"
        t.equal(p:data(), { items = { 1, 2 } })
    end)
    case("subtypes of numbers and all bytes of strings are kept", function()
        t.equal(math.type(payload.new(3):data()), "integer")
        t.equal(math.type(payload.new(3.0):data()), "float")
        t.equal(payload.new(math.maxinteger):data(), math.maxinteger)
        t.equal(payload.new("a\0b\255"):data(), "a\0b\255")
    end)
    case("what cannot leave a process is nil in a payload", function()
        t.values({ nil, n = 1 }, payload.new(print):data())
        t.equal(payload.new({ f = print, ch = channel.new(), n = 1 }):data(), { n = 1 })
    end)
    case("a payload in a payload is its data", function()
        t.equal(payload.new(payload.new({ 1 })):data(), { 1 })
        t.equal(payload.new({ inner = payload.new("x") }):data(), { inner = "x" })
        t.equal(payload.new(assert(payload.new({ a = 1 }):transcode(payload.format.JSON))):data(), { a = 1 })
    end)
    case("tostring shows the format", function()
        t.equal(tostring(payload.new(1)), "payload{format=lua/any}")
        t.equal(tostring(payload.new(errors.new("x"))), "payload{format=golang/error}")
        t.equal(tostring(payload.new(1):transcode(payload.format.JSON)), "payload{format=json/plain}")
    end)
    case("methods want a payload", function()
        local p = payload.new(1)
        for _, method in ipairs({ "get_format", "data", "unmarshal", "transcode" }) do
            t.equal(type(p[method]), "function")
            t.raises("bad argument #1 to '" .. method .. "' (Payload expected, got table)", p[method], {})
            t.raises("bad argument #1", p[method], channel.new())
            t.raises("bad argument #1", p[method])
        end
        t.raises("", function() p.format = "x" end)
    end)
    return done()
end

return { main = main }

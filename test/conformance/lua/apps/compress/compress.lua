local compress = require("compress")
local t = require("expect")

local NAMES = { "gzip", "deflate", "zlib", "brotli", "zstd" }

local function main()
    local case, done = t.cases()
    local text = string.rep("the quick brown fox ", 500) .. "\0\255"

    case("round trips", function()
        for _, name in ipairs(NAMES) do
            local packed, err = t.count(2, compress[name].encode(text))
            t.equal(err, nil)
            t.truthy(#packed < #text / 4, name .. " is small")
            t.values({ text, nil, n = 2 }, compress[name].decode(packed))
            t.equal(compress[name].decode(compress[name].encode(text, { level = 9 })), text)
        end
    end)
    case("what goes in must be a text that is not empty", function()
        for _, name in ipairs(NAMES) do
            for _, fn in ipairs({ compress[name].encode, compress[name].decode }) do
                t.fails("Invalid", "string expected", fn(5))
                t.fails("Invalid", "string expected", fn())
                t.fails("Invalid", "input data cannot be empty", fn(""))
            end
        end
    end)
    case("levels", function()
        for _, name in ipairs({ "gzip", "deflate", "zlib" }) do
            t.fails("Invalid", "compression level must be between 1 and 9", compress[name].encode("x", { level = 0 }))
            t.fails("Invalid", "compression level must be between 1 and 9", compress[name].encode("x", { level = 10 }))
        end
        t.fails("Invalid", "brotli quality must be between 0 and 11", compress.brotli.encode("x", { level = 12 }))
        t.fails("Invalid", "zstd level must be between 1 and 22", compress.zstd.encode("x", { level = 23 }))
        t.truthy(compress.brotli.encode("x", { level = 0 }))
    end)
    case("too much output", function()
        for name, kind in pairs({ gzip = "Internal", zlib = "Internal", zstd = "Internal", deflate = "Invalid", brotli = "Invalid" }) do
            local packed = compress[name].encode(text)
            t.fails(kind, kind == "Internal" and "exceeds limit" or nil, compress[name].decode(packed, { max_size = 100 }))
            t.equal(compress[name].decode(packed, { max_size = -1 }), text)
        end
    end)
    case("corrupt input", function()
        for _, name in ipairs({ "gzip", "zlib", "deflate", "brotli" }) do
            t.fails("Invalid", "invalid " .. name .. " data", compress[name].decode("\255\255 this is no such thing"))
        end
        for _, name in ipairs({ "gzip", "zlib" }) do
            local packed = compress[name].encode(text)
            local broken = packed:sub(1, 12) .. "\255\255\255\255" .. packed:sub(17)
            t.fails("Internal", nil, compress[name].decode(broken))
        end
        for name, count in pairs({ gzip = 9, zlib = 1 }) do
            t.fails("Invalid", "invalid " .. name .. " data", compress[name].decode(compress[name].encode(text):sub(1, count)))
            t.fails("Internal", nil, compress[name].decode(compress[name].encode(text):sub(1, count + 1)))
        end
        local rest = string.rep("\0", 12)
        t.fails("Invalid", "invalid gzip data", compress.gzip.decode("\x1f\x8b\8\xe0\0\0\0\0\0\3" .. rest))
        t.fails("Invalid", "invalid gzip data", compress.gzip.decode("\x1f\x8b\8\2\0\0\0\0\0\3\255\255" .. rest))
        t.fails("Invalid", "invalid zlib data", compress.zlib.decode("\x78\xbb" .. rest))
        t.fails("Internal", "zstd", compress.zstd.decode("garbage that is long enough"))
        local packed = compress.zstd.encode(text)
        t.fails("Internal", "zstd", compress.zstd.decode(packed:sub(1, #packed - 5)))
    end)
    case("what no string can hold is too much, and harms nobody", function()
        local block = compress.gzip.encode(string.rep("\0", 16 * 1024 * 1024))
        t.fails("Internal", "exceeds limit", compress.gzip.decode(block:rep(33), { max_size = 1024 * 1024 * 1024 }))
    end)
    case("training and inspecting dictionaries", function()
        local samples = {}
        for i = 1, 100 do samples[i] = ("order=%d;customer=name-%d;state=accepted"):format(i, i * 31) end
        local dict, err = t.count(2, compress.zstd.train_dict(samples, { size = 1024, id = 4711 }))
        t.equal(err, nil)
        t.truthy(#dict <= 1024)
        local info = t.count(2, compress.zstd.inspect_dict(dict))
        t.equal(info.id, 4711)
        t.truthy(info.content_size >= 8)
        local packed = compress.zstd.encode("order=7777;customer=name-8;state=accepted", { dict = dict })
        t.truthy(#packed < 32)
        t.equal(compress.zstd.decode(packed, { dict = dict }), "order=7777;customer=name-8;state=accepted")
        t.truthy(compress.zstd.inspect_dict(compress.zstd.train_dict(samples)).id ~= 0, "an id is chosen")
    end)
    case("dictionaries of nothing, and what is none", function()
        for _, samples in ipairs({ {}, { "" }, { "long enough", 5 }, { "short" } }) do
            t.fails("Invalid", "sample", compress.zstd.train_dict(samples))
        end
        t.fails("Invalid", "sample", compress.zstd.train_dict())
        for option, value in pairs({ size = 255, id = -1, level = 23 }) do
            t.fails("Invalid", option, compress.zstd.train_dict({ "long enough" }, { [option] = value }))
        end
        t.fails("Invalid", "invalid zstd dictionary", compress.zstd.inspect_dict("garbage"))
    end)
    case("zstd with a dictionary", function()
        local dict = "the quick brown fox jumps over the lazy dog"
        local packed = compress.zstd.encode(dict .. "!", { dict = dict })
        t.truthy(#packed < #compress.zstd.encode(dict .. "!"))
        t.equal(compress.zstd.decode(packed, { dict = dict }), dict .. "!")
        t.fails("Invalid", "dict must be a non-empty string", compress.zstd.encode("x", { dict = "" }))
        t.fails("Invalid", "dict must be a non-empty string", compress.zstd.decode(packed, { dict = 5 }))
    end)
    return done()
end

return { main = main }

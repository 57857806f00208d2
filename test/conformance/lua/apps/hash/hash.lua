local hash = require("hash")
local t = require("expect")

local function main()
    local case, done = t.cases()

    case("digests", function()
        t.values({ "900150983cd24fb0d6963f7d28e17f72", nil, n = 2 }, hash.md5("abc"))
        t.values({ "a9993e364706816aba3e25717850c26c9cd0d89d", nil, n = 2 }, hash.sha1("abc"))
        t.equal(hash.sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        t.equal(#hash.sha512("abc"), 128)
        t.equal(#hash.sha512("abc", true), 64)
        t.equal(hash.md5("abc", true):byte(1), 0x90)
        t.equal(hash.md5("abc", false), hash.md5("abc"))
        for _, fn in ipairs({ hash.md5, hash.sha1, hash.sha256, hash.sha512 }) do
            t.fails("Invalid", "data must be a string", fn(5))
            t.fails("Invalid", "data must be a string", fn())
        end
    end)
    case("keyed digests take the data first", function()
        t.values({ "80070713463e7749b90c2dc24911e275", nil, n = 2 }, hash.hmac_md5("The quick brown fox jumps over the lazy dog", "key"))
        t.equal(hash.hmac_sha1("The quick brown fox jumps over the lazy dog", "key"), "de7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9")
        t.equal(
            hash.hmac_sha256("The quick brown fox jumps over the lazy dog", "key"),
            "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"
        )
        t.equal(#hash.hmac_sha512("x", "key", true), 64)
        t.equal(#hash.hmac_sha256("", ""), 64)
        t.fails("Invalid", "data must be a string", hash.hmac_sha256(nil, "key"))
        t.fails("Invalid", "secret must be a string", hash.hmac_sha256("x"))
        t.fails("Invalid", "secret must be a string", hash.hmac_md5("x", {}))
        t.fails("Invalid", "secret must be a string", hash.hmac_sha1("x", 1))
        t.fails("Invalid", "secret must be a string", hash.hmac_sha512("x", true))
    end)
    case("FNV-1", function()
        t.values({ 2166136261.0, nil, n = 2 }, hash.fnv32(""))
        t.equal(string.format("%.0f", hash.fnv32("a")), "84696446")
        t.equal(hash.fnv64(""), 14695981039346656037.0)
        t.equal(hash.fnv64("a"), 12638153115695167422.0)
        t.equal(hash.fnv64("foobar"), 3750802935296928194.0)
        t.fails("Invalid", "data must be a string", hash.fnv32(1))
        t.fails("Invalid", "data must be a string", hash.fnv64())
    end)
    return done()
end

return { main = main }

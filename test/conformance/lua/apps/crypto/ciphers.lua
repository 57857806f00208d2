local crypto = require("crypto")
local base64 = require("base64")
local t = require("expect")

-- NIST's test case 4 of AES-GCM (96 bits of nonce): nonce, ciphertext and tag as one string.
local function hex(digits) return (digits:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)) end
local NIST = {
    key = hex("feffe9928665731c6d6a8f9467308308"),
    aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
    sealed = hex("cafebabefacedbaddecaf888"
        .. "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
        .. "5bc94fbc3221a5db94fae95ae7121a47"),
    data = hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"),
}
-- RFC 8439 §2.8.2
local RFC8439 = {
    key = hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"),
    aad = hex("50515253c0c1c2c3c4c5c6c7"),
    sealed = hex("070000004041424344454647"
        .. "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
        .. "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116"
        .. "1ae10b594f09e26a7e902ecbd0600691"),
    data = "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
}

local function main()
    local case, done = t.cases()

    case("what others have encrypted is decrypted", function()
        t.values({ NIST.data, nil, n = 2 }, crypto.decrypt.aes(NIST.sealed, NIST.key, NIST.aad))
        t.values({ RFC8439.data, nil, n = 2 }, crypto.decrypt.chacha20(RFC8439.sealed, RFC8439.key, RFC8439.aad))
    end)
    case("what was encrypted comes back", function()
        for _, size in ipairs({ 16, 24, 32 }) do
            local key = crypto.random.bytes(size)
            for _, data in ipairs({ "", "x", string.rep("secret\0", 100) }) do
                local sealed = t.count(2, crypto.encrypt.aes(data, key, "for you"))
                t.equal(#sealed, 12 + #data + 16)
                t.values({ data, nil, n = 2 }, crypto.decrypt.aes(sealed, key, "for you"))
                t.truthy(sealed ~= crypto.encrypt.aes(data, key, "for you"))
            end
        end
        local key = crypto.random.bytes(32)
        local sealed = t.count(2, crypto.encrypt.chacha20("data", key))
        t.equal(#sealed, 12 + 4 + 16)
        t.equal(crypto.decrypt.chacha20(sealed, key), "data")
        t.equal(crypto.decrypt.chacha20(sealed, key, ""), "data")
    end)
    case("keys of the wrong length", function()
        for _, size in ipairs({ 0, 15, 17, 33 }) do
            local key = string.rep("k", size)
            t.fails("Invalid", "key must be 16, 24, or 32 bytes", crypto.encrypt.aes("x", key))
            t.fails("Invalid", "key must be 16, 24, or 32 bytes", crypto.decrypt.aes(string.rep("x", 40), key))
        end
        t.fails("Invalid", "key must be 32 bytes", crypto.encrypt.chacha20("x", string.rep("k", 16)))
        t.fails("Invalid", "key must be 32 bytes", crypto.decrypt.chacha20(string.rep("x", 40), ""))
    end)
    case("what is not authentic is refused", function()
        for name, size in pairs({ aes = 16, chacha20 = 32 }) do
            local key = crypto.random.bytes(size)
            local sealed = crypto.encrypt[name]("data", key, "aad")
            local decrypt = crypto.decrypt[name]
            t.fails("Invalid", "encrypted data too short", decrypt("", key))
            t.fails("Invalid", "encrypted data too short", decrypt(string.rep("x", 11), key))
            t.fails("Internal", "message authentication failed", decrypt(string.rep("x", 12), key))
            t.fails("Internal", "message authentication failed", decrypt(string.rep("x", 27), key))
            t.fails("Internal", "message authentication failed", decrypt(sealed, key))
            t.fails("Internal", "message authentication failed", decrypt(sealed, key, "other"))
            t.fails("Internal", "message authentication failed", decrypt(sealed, crypto.random.bytes(size), "aad"))
            t.fails("Internal", "message authentication failed", decrypt(sealed .. "x", key, "aad"))
            for at = 1, #sealed do
                local changed = sealed:sub(1, at - 1) .. string.char((sealed:byte(at) + 1) % 256) .. sealed:sub(at + 1)
                t.fails("Internal", "message authentication failed", decrypt(changed, key, "aad"))
            end
        end
    end)
    case("wrong types raise", function()
        for _, fn in ipairs({ crypto.encrypt.aes, crypto.encrypt.chacha20, crypto.decrypt.aes, crypto.decrypt.chacha20 }) do
            t.raises("string expected", fn, nil, "k")
            t.raises("string expected", fn, "x")
            t.raises("string expected", fn, "x", string.rep("k", 32), {})
        end
    end)
    return done()
end

return { main = main }

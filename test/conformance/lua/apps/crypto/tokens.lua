local crypto = require("crypto")
local base64 = require("base64")
local json = require("json")
local time = require("time")
local keys = require("keys")
local t = require("expect")

local jwt = crypto.jwt

local function later(seconds) return time.now():unix() + seconds end

local function url_decode(part)
    part = part:gsub("-", "+"):gsub("_", "/")
    return base64.decode(part .. string.rep("=", -#part % 4))
end

local function url_encode(data)
    return (base64.encode(data):gsub("+", "-"):gsub("/", "_"):gsub("=", ""))
end

local function parts(token) return token:match("^([^.]*)%.([^.]*)%.([^.]*)$") end

local function header_of(token) return json.decode(url_decode((parts(token)))) end

local function main()
    local case, done = t.cases()

    case("what was signed is verified, with a short secret too", function()
        for _, alg in ipairs({ "HS256", "HS384", "HS512" }) do
            local exp = later(60)
            local token, err = t.count(2, jwt.encode({ sub = "u1", exp = exp, roles = { "a", "b" }, deep = { ok = true } }, "k", alg))
            t.equal(err, nil)
            t.equal(header_of(token), { alg = alg, typ = "JWT" })
            local claims = t.count(2, jwt.verify(token, "k", alg))
            t.equal(claims, { sub = "u1", exp = exp, roles = { "a", "b" }, deep = { ok = true } })
        end
        local token = jwt.encode({ exp = later(60) }, "secret")
        t.equal(header_of(token).alg, "HS256")
        t.truthy(jwt.verify(token, "secret"))
    end)
    case("a token of others: RFC 7515, appendix A.1", function()
        local token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
            .. ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
            .. ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        local key = url_decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
        t.fails("Internal", "token is expired", jwt.verify(token, key))
        t.fails("Internal", "signature is invalid", jwt.verify(token, key .. "x"))
    end)
    case("numbers come back as floats", function()
        local claims = jwt.verify(jwt.encode({ n = 5, list = { 1 }, exp = later(60) }, "k"), "k")
        t.equal(math.type(claims.n), "float")
        t.equal(math.type(claims.list[1]), "float")
        t.equal(math.type(claims.exp), "float")
    end)
    case("_header goes into the header, but not alg", function()
        local claims = { _header = { kid = "k1", typ = "at+jwt", alg = "none" }, exp = later(60) }
        local token = jwt.encode(claims, "k")
        t.equal(header_of(token), { alg = "HS256", typ = "at+jwt", kid = "k1" })
        t.equal(jwt.verify(token, "k")._header, nil)
        t.equal(claims._header.kid, "k1")
        t.fails("Invalid", "header", jwt.encode({ _header = { crit = { "x" } } }, "k"))
    end)
    case("another name of an algorithm signs with HS256, but never verifies", function()
        for _, name in ipairs({ "none", "ES256", "hs256", "" }) do
            local token = t.count(2, jwt.encode({ exp = later(60) }, "k", name))
            t.equal(header_of(token).alg, "HS256")
            t.fails("Internal", "signing method " .. name .. " is invalid", jwt.verify(token, "k", name))
        end
    end)
    case("claims must be a map", function()
        t.fails("Invalid", "failed to convert payload to map", jwt.encode({ 1, 2 }, "k"))
        t.fails("Invalid", "failed to convert payload to map", jwt.encode({ "a", sub = "b" }, "k"))
        local cycle = {}
        cycle.self = cycle
        t.fails("Invalid", "failed to convert payload to map", jwt.encode(cycle, "k"))
        t.equal(url_decode(select(2, parts(jwt.encode({}, "k")))), "{}")
        t.equal(url_decode(select(2, parts(jwt.encode({ _header = { kid = "1" } }, "k")))), "{}")
        t.raises("table expected", jwt.encode, "x", "k")
        t.raises("string expected", jwt.encode, {})
        t.raises("string expected", jwt.verify, {}, "k")
        t.raises("string expected", jwt.verify, "x")
        t.fails("Invalid", "key cannot be empty", jwt.encode({}, ""))
        t.fails("Invalid", "key cannot be empty", jwt.verify("a.b.c", ""))
    end)
    case("RS256 with every form of key", function()
        local exp = later(60)
        for _, private in ipairs({ keys.pkcs1, keys.pkcs8 }) do
            local token = t.count(2, jwt.encode({ sub = "u", exp = exp }, private, "RS256"))
            t.equal(header_of(token).alg, "RS256")
            for _, public in ipairs({ keys.spki, keys.pkcs1_public, keys.certificate }) do
                t.equal(t.count(2, jwt.verify(token, public, "RS256")), { sub = "u", exp = exp })
            end
        end
    end)
    case("RS256 with what is no key for it", function()
        for _, key in ipairs({ "", "secret", keys.spki, keys.certificate, keys.elliptic, keys.small }) do
            t.fails("Invalid", "invalid RSA private key", jwt.encode({}, key, "RS256"))
        end
        for _, key in ipairs({ "", "secret", keys.pkcs8, keys.pkcs1, keys.elliptic, keys.small }) do
            t.fails("Invalid", "invalid RSA public key", jwt.verify("a.b.c", key, "RS256"))
        end
    end)
    case("a token does not choose its algorithm", function()
        local exp = later(60)
        local forged = jwt.encode({ sub = "admin", exp = exp }, keys.spki, "HS256")
        t.fails("Internal", "signing method HS256 is invalid", jwt.verify(forged, keys.spki, "RS256"))
        local honest = jwt.encode({ exp = exp }, keys.pkcs8, "RS256")
        t.fails("Internal", "signing method RS256 is invalid", jwt.verify(honest, keys.spki))
        t.fails("Internal", "signing method HS512 is invalid", jwt.verify(jwt.encode({ exp = exp }, "k", "HS512"), "k"))
        local unsigned = url_encode('{"alg":"none"}') .. "." .. url_encode('{"exp":' .. exp .. "}") .. "."
        t.fails("Internal", "signing method none is invalid", jwt.verify(unsigned, "k"))
    end)
    case("tokens that are none", function()
        local token = jwt.encode({ exp = later(60) }, "k")
        local header, payload, signature = parts(token)
        for _, text in ipairs({
            "", "x", "a.b", "a.b.c", "a.b.c.d", header, header .. "." .. payload, header .. "." .. payload .. ".!",
            url_encode("[]") .. "." .. payload .. "." .. signature, url_encode("{") .. "." .. payload .. "." .. signature,
            url_encode("{}") .. "." .. payload .. "." .. signature, "\255." .. payload .. "." .. signature,
        }) do
            t.fails("Internal", "token is malformed", jwt.verify(text, "k"))
        end
        t.fails("Internal", "signature is invalid", jwt.verify(token, "other"))
        t.fails("Internal", "signature is invalid", jwt.verify(header .. "." .. url_encode("{}") .. "." .. signature, "k"))
    end)
    case("times", function()
        local function verify(claims, ...) return jwt.verify(jwt.encode(claims, "k"), "k", "HS256", ...) end
        t.fails("Internal", "exp claim is required", verify({ sub = "x" }))
        t.fails("Internal", "exp claim is required", verify({ sub = "x" }, true))
        t.equal(t.count(2, verify({ sub = "x" }, false)), { sub = "x" })
        t.fails("Internal", "token is expired", verify({ exp = later(-1) }))
        t.fails("Internal", "token is expired", verify({ exp = later(-1) }, false))
        t.fails("Internal", "not valid yet", verify({ exp = later(60), nbf = later(30) }))
        t.fails("Internal", "not valid yet", verify({ nbf = later(30) }, false))
        t.truthy(verify({ exp = later(60), nbf = later(-1), iat = later(50) }))
        t.fails("Internal", "token is malformed", verify({ exp = "tomorrow" }))
        t.fails("Internal", "token is malformed", verify({ exp = tostring(later(60)) }))
    end)
    return done()
end

return { main = main }

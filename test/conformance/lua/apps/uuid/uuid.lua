local uuid = require("uuid")
local t = require("expect")

local DNS = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"

local function main()
    local case, done = t.cases()

    case("making", function()
        for _, version in ipairs({ 1, 4, 7 }) do
            local id = t.count(2, uuid["v" .. version]())
            t.equal(#id, 36)
            t.equal(id, string.lower(id))
            t.values({ version, nil, n = 2 }, uuid.version(id))
            t.values({ "RFC4122", nil, n = 2 }, uuid.variant(id))
            t.truthy(uuid["v" .. version]() ~= id)
        end
        t.truthy(uuid.v7() <= uuid.v7())
    end)
    case("by name", function()
        t.values({ "2ed6657d-e927-568b-95e1-2665a8aea6a2", nil, n = 2 }, uuid.v5(DNS, "www.example.com"))
        t.values({ "5df41881-3aed-3515-88a7-2f4a814cf09e", nil, n = 2 }, uuid.v3(DNS, "www.example.com"))
        t.equal(uuid.v5(string.upper(DNS), "www.example.com"), "2ed6657d-e927-568b-95e1-2665a8aea6a2")
        for _, fn in ipairs({ uuid.v3, uuid.v5 }) do
            t.fails("Invalid", "must be strings", fn(DNS))
            t.fails("Invalid", "must be strings", fn(1, "x"))
            t.fails("Invalid", "invalid namespace UUID", fn("nope", "x"))
        end
    end)
    case("validate never fails", function()
        t.values({ true, nil, n = 2 }, uuid.validate(DNS))
        t.values({ true, nil, n = 2 }, uuid.validate("{" .. DNS .. "}"))
        t.values({ true, nil, n = 2 }, uuid.validate("urn:uuid:" .. DNS))
        t.values({ true, nil, n = 2 }, uuid.validate("6BA7B8109DAD11D180B400C04FD430C8"))
        t.values({ false, nil, n = 2 }, uuid.validate("6ba7b810"))
        t.values({ false, nil, n = 2 }, uuid.validate("{" .. DNS))
        t.values({ false, nil, n = 2 }, uuid.validate(12))
        t.values({ false, nil, n = 2 }, uuid.validate())
    end)
    case("version, variant", function()
        t.equal(uuid.version(DNS), 1)
        t.equal(uuid.variant("6ba7b810-9dad-11d1-c0b4-00c04fd430c8"), "Microsoft")
        t.equal(uuid.variant("6ba7b810-9dad-11d1-00b4-00c04fd430c8"), "NCS")
        t.equal(uuid.variant("6ba7b810-9dad-11d1-e0b4-00c04fd430c8"), "Future")
        for _, fn in ipairs({ uuid.version, uuid.variant, uuid.parse, uuid.format }) do
            t.fails("Invalid", "input must be a string", fn(5))
            t.fails("Invalid", "invalid UUID format", fn("xyz"))
        end
    end)
    case("parse", function()
        local p, err = t.count(2, uuid.parse(DNS))
        t.equal(err, nil)
        t.equal(p, { version = 1, variant = "RFC4122", timestamp = 886630433, node = "\0\192\79\212\48\200" })
        t.equal(uuid.parse("017f22e2-79b0-7cc3-98c4-dc0c0c07398f").timestamp, 1645557742)
        t.equal(uuid.parse(uuid.v4()).timestamp, nil)
    end)
    case("format", function()
        t.values({ DNS, nil, n = 2 }, uuid.format("6BA7B8109DAD11D180B400C04FD430C8"))
        t.equal(uuid.format(DNS, "standard"), DNS)
        t.equal(uuid.format(DNS, "simple"), "6ba7b8109dad11d180b400c04fd430c8")
        t.equal(uuid.format(DNS, "urn"), "urn:uuid:" .. DNS)
        t.fails("Invalid", "unsupported format", uuid.format(DNS, "short"))
    end)
    return done()
end

return { main = main }

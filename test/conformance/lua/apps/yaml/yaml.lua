local yaml = require("yaml")
local t = require("expect")

local function main()
    local case, done = t.cases()

    case("encode", function()
        t.values({ "a: 1\nb:\n    - p\n    - q\n", nil, n = 2 }, yaml.encode({ b = { "p", "q" }, a = 1 }))
        t.values({ "{}\n", nil, n = 2 }, yaml.encode({}))
        t.equal(yaml.encode({ "a", x = 1 }), "- a\n")
        t.equal(yaml.encode({ a10 = 1, a2 = 2, a1 = 3 }), "a1: 3\na2: 2\na10: 1\n")
        t.equal(yaml.encode({ f = 1.5, w = 2.0, ok = true }), "f: 1.5\nok: true\nw: 2\n")
        t.fails("Invalid", "table expected", yaml.encode("x"))
        t.fails("Invalid", "table expected", yaml.encode())
        local loop = {}
        loop.me = loop
        t.fails("Internal", "nested", yaml.encode(loop))
    end)
    case("texts that would be read as something else are quoted", function()
        for _, text in ipairs({ "true", "null", "12", "yes", "no", "on", "1e3", "", "2024-01-02", "~", "0x1F", "017" }) do
            local out = yaml.encode({ v = text })
            t.truthy(string.find(out, "[\"']"), out)
            t.equal(yaml.decode(out).v, text)
        end
        t.equal(yaml.encode({ v = "plain text" }), "v: plain text\n")
        t.equal(yaml.encode({ v = "two\nlines\n" }), "v: |\n    two\n    lines\n")
    end)
    case("options", function()
        local value = { b = 1, c = { z = 1, a = 2, b = 3 }, a = 3 }
        t.equal(yaml.encode(value, { field_order = { "c", "z", 5 } }), "c:\n  z: 1\n  a: 2\n  b: 3\na: 3\nb: 1\n")
        t.equal(yaml.encode({ a10 = 1, a2 = 2 }, { sort_unordered = true }), "a10: 1\na2: 2\n")
        t.equal(yaml.encode({ a = 1 }, "ignored"), "a: 1\n")
    end)
    case("decode", function()
        local value, err = t.count(2, yaml.decode("a: 1\nb: [x, 2.5, true, null, last]\n1: one\n"))
        t.equal(err, nil)
        t.equal(value.a, 1)
        t.equal(value.b[1], "x")
        t.equal(value.b[2], 2.5)
        t.equal(value.b[4], nil)
        t.equal(value.b[5], "last")
        t.equal(value["1"], "one")
        t.values({ "text", nil, n = 2 }, yaml.decode("text"))
        t.values({ nil, nil, n = 2 }, yaml.decode("# nothing\n"))
        t.equal(yaml.decode("a: 1\n---\nb: ]["), { a = 1 })
        t.fails("Invalid", "string expected", yaml.decode(5))
        t.fails("Invalid", "input cannot be empty", yaml.decode(""))
        t.fails("Internal", nil, yaml.decode("a: [1"))
        t.fails("Internal", nil, yaml.decode("a: 1\na: 2"))
    end)
    case("scalars", function()
        local v = yaml.decode([[
yes: yes
on: on
octal: 0o17
old: 017
hex: 0x1F
inf: .inf
tilde: ~
empty:
day: 2024-01-02
time: 2024-01-02T03:04:05Z
quoted: "2024-01-02"
bin: !!binary aGVsbG8=
]])
        t.equal(v["yes"], "yes")
        t.equal(v.on, "on")
        t.equal(v.octal, 15)
        t.equal(v.old, 15)
        t.equal(v.hex, 31)
        t.equal(v.inf, math.huge)
        t.equal(v.tilde, nil)
        t.equal(v.empty, nil)
        t.equal(v.day, 1704153600)
        t.equal(v.time, 1704164645)
        t.equal(v.quoted, "2024-01-02")
        t.equal(v.bin, "hello")
        t.equal(math.type(yaml.decode("1")), "integer")
        t.equal(math.type(yaml.decode("1.0")), "float")
        t.fails("Internal", "64 bits", yaml.decode("18446744073709551615"))
    end)
    case("anchors and merge keys", function()
        local v = yaml.decode("base: &b { x: 1, y: 2 }\nuse: { <<: *b, y: 3 }\nagain: *b\n")
        t.equal(v.use, { x = 1, y = 3 })
        t.equal(v.again, { x = 1, y = 2 })
    end)
    case("hostile input ends in an error", function()
        t.fails("Internal", "nested", yaml.decode(string.rep("[", 5000)))
        local bomb = { "a0: &a0 [x, x, x, x, x, x, x, x, x, x]" }
        for i = 1, 9 do
            bomb[#bomb + 1] = "a" .. i .. ": &a" .. i .. " [" .. string.rep("*a" .. (i - 1), 9, ", ") .. "]"
        end
        t.fails("Internal", nil, yaml.decode(table.concat(bomb, "\n")))
    end)
    return done()
end

return { main = main }

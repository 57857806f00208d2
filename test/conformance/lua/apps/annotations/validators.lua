-- Validators of declared types (lua-core.md §3.3).
local t = require("expect")

type Age = integer @min(0) @max(150)
type Name = string @min_len(2) @max_len(5)
type Tags = {string @min_len(1)} @min_len(1) @max_len(2)
type Email = string @pattern("^[^@]+@[^@]+$")
type Ratio = number @min(-0.5) @max(0.5)
type User = {name: Name, age?: Age, email: Email?, tags: Tags?}
type Odd = number @odd @whatever("x", 1)
type Broken = string @pattern("(")

local function main()
    local case, done = t.cases()

    local function refuses(type, value, message, details)
        local err = t.fails("Invalid", message, type:is(value))
        t.equal(err:message(), message)
        for key, wanted in pairs(details or {}) do t.equal(err:details()[key], wanted, key) end
    end

    case("@min and @max", function()
        t.equal(Age(0), 0)
        t.equal(Age(150), 150)
        refuses(Age, -1, "-1 is below the min of 0", { field = "", constraint = "min", expected = "@min(0)", got = "-1" })
        refuses(Age, 151, "151 is above the max of 150", { constraint = "max", expected = "@max(150)", got = "151" })
        refuses(Age, "1", "expected integer, got string", { constraint = "type" })
        t.equal(Ratio(-0.5), -0.5)
        refuses(Ratio, -0.75, "-0.75 is below the min of -0.5")
    end)
    case("@min_len and @max_len", function()
        t.equal(Name("ab"), "ab")
        refuses(Name, "a", "length 1 is below 2", { constraint = "min_len", expected = "@min_len(2)", got = "1" })
        refuses(Name, "abcdef", "length 6 is above 5", { constraint = "max_len" })
        t.truthy(Tags:is({ "a" }))
        refuses(Tags, {}, "length 0 is below 1")
        refuses(Tags, { "a", "b", "c" }, "length 3 is above 2")
        refuses(Tags, { "a", "" }, "2: length 0 is below 1", { field = "2" })
    end)
    case("@pattern", function()
        t.equal(Email("a@b"), "a@b")
        refuses(Email, "ab", '"ab" does not match the pattern "^[^@]+@[^@]+$"', { constraint = "pattern", got = '"ab"' })
        refuses(Broken, "x", 'the pattern "(" is no regular expression')
    end)
    case("in records", function()
        t.truthy(User:is({ name = "Ada" }))
        t.truthy(User:is({ name = "Ada", age = 36, email = "a@b", tags = { "x" } }))
        refuses(User, { name = "Ada", age = 200 }, "age: 200 is above the max of 150", { field = "age" })
        refuses(User, { name = "A" }, "name: length 1 is below 2")
        refuses(User, { name = "Ada", email = "x" }, 'email: "x" does not match the pattern "^[^@]+@[^@]+$"')
    end)
    case("unknown validators say nothing", function()
        t.equal(Odd(2), 2)
    end)
    return done()
end

return { main = main }
